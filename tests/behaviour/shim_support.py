"""The shim under test, laid out as an installation that every user can read, and the comparison of a program's runs.

Run by meson with WATCHER_BUILD set to the build directory; by hand the environment says the same.
"""
import os
import pathlib
import shutil
import subprocess
import tempfile

SOURCES = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("WATCHER_BUILD", SOURCES.parent.parent / "build")).resolve()
SHIM = "libwatcher_preload.so"
NOBODY = 65534
TIMEOUT_S = 120


class Installation:
    """A temporary directory that holds the shim and what is named beside it; usable by any user."""

    def __init__(self, siblings=()):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="watcher-shim-"))
        self.root.chmod(0o755)
        self.shim = self.add(BUILD / "preload" / SHIM)
        for sibling in siblings:
            self.add(sibling)

    def add(self, path, name=None):
        path = pathlib.Path(path)
        folder = self.root / "node_modules" / "watcher" if path.parent.parent.name == "node_modules" else self.root
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        target = folder / (name or path.name)
        shutil.copyfile(path, target)
        target.chmod(0o755)
        return target

    def compile(self, name, *arguments, compiler="gcc"):
        """The path of the compiled program, or None where the tool chain cannot do it."""
        target = self.root / name
        command = [compiler, *map(str, arguments), "-o", str(target)]
        if shutil.which(compiler) is None or subprocess.run(command, capture_output=True).returncode != 0:
            return None
        target.chmod(0o755)
        return target

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)


def real_siblings():
    """The runtime and the probes, as far as they are built: they belong beside an installed shim."""
    return [*BUILD.glob("runtime/libwatcher_runtime.so"), *BUILD.glob("probes/*/watcher_*.so"), *BUILD.glob("probes/node/node_modules/watcher/*.?js")]


def environment(**extra):
    plain = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    return {**plain, **{name: str(value) for name, value in extra.items()}}


def run(command, preload=(), env=None, user=None, **options):
    """(status, stdout, stderr) of a command with these objects preloaded, after those that `env` preloads already."""
    env = dict(environment() if env is None else env)
    objects = [env.pop("LD_PRELOAD", None), *map(str, preload)]
    if any(objects):
        env["LD_PRELOAD"] = ":".join(filter(None, objects))
    if user is not None:
        options.update(user=user, group=user, extra_groups=[])
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([str(part) for part in command], env=env, capture_output=True, timeout=TIMEOUT_S, **options)
    return done.returncode, done.stdout, done.stderr
