"""Unmodified node programs with and without Watcher, on every node found: the system's, and the official builds 18 to 24
that npm installs once into a cache outside the repository (WATCHER_TEST_CACHE, default: ~/.cache/watcher-tests)."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import harness
from harness import BUILD, Run

SUPPORTED = ["18", "20", "22", "24"]
LOCK = pathlib.Path(__file__).parent / "node" / "interpreters"
STUB = pathlib.Path(__file__).parents[2] / "examples" / "node" / "watcher-stub"
PRELOAD = str(BUILD / "preload" / "libwatcher_preload.so")


def cache():
    default = pathlib.Path.home() / ".cache" / "watcher-tests"
    return pathlib.Path(os.environ.get("WATCHER_TEST_CACHE", default)) / "node"


def install(home, lock, present):
    """npm's packages, once; a machine without npm or network tests what it has. Tests side by side wait for each other."""
    home.mkdir(parents=True, exist_ok=True)
    with open(home / "lock", "w") as only_one:
        fcntl.flock(only_one, fcntl.LOCK_EX)
        if present() or shutil.which("npm") is None:
            return
        for name in ("package.json", "package-lock.json"):
            shutil.copy(lock / name, home / name)
        npm = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        try:
            failure = subprocess.run(npm, cwd=home, capture_output=True, text=True, timeout=280).stderr
        except subprocess.TimeoutExpired:
            failure = "it takes more than 280 s"
        if not present():
            print(f"npm ci in {home} failed: {failure[-300:]}", file=sys.stderr)


def _version(node):
    try:
        done = subprocess.run([node, "-p", "process.versions.node"], capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    version = done.stdout.split(".")[0]
    return version if done.returncode == 0 and version in SUPPORTED else None


def _interpreters():
    official = [cache() / "node_modules" / f"node-{version}" / "bin" / "node" for version in SUPPORTED]
    install(cache(), LOCK, lambda: all(node.exists() for node in official))
    candidates = [str(node) for node in official]
    candidates += ["/usr/bin/node", shutil.which("node") or ""]
    found, seen = [], set()
    for node in candidates:
        real = os.path.realpath(node) if node else ""
        if not os.path.isfile(real) or real in seen:
            continue
        seen.add(real)
        version = _version(node)
        if version:
            found.append((version, node))
    return found


INTERPRETERS = _interpreters()
MISSING = [version for version in SUPPORTED if version not in {found for found, _ in INTERPRETERS}]
if MISSING:
    print("not tested, no interpreter here: node " + ", ".join(MISSING), file=sys.stderr)


class Case(harness.Case):
    engines = ("auto", "inline")

    @staticmethod
    def users(node):
        return (None, harness.NOBODY) if os.getuid() == 0 and harness.readable_by_others(node) else (None,)

    def plain_node(self, node, arguments, environment=None, stdin=None, user=None):
        modules = self.directory / "stub"
        shutil.copytree(STUB, modules / "watcher", dirs_exist_ok=True)
        return Run(self.execute([node, *arguments], {"NODE_PATH": str(modules), **(environment or {})}, user, input=stdin, umask=0))

    def watched_node(self, node, arguments, environment=None, stdin=None, launcher=False, user=None):
        output = pathlib.Path(tempfile.mkdtemp(prefix="out-", dir=self.directory))
        if user is not None:
            os.chown(output, user, user)
        command = [node, *arguments]
        env = {"WATCHER_OUTPUT": str(output), **(environment or {})}
        if launcher:
            command = [str(BUILD / "tools" / "watcher-exec"), "--", *command]
        else:
            env["LD_PRELOAD"] = PRELOAD
        return Run(self.execute(command, env, user, input=stdin, umask=0), output)

    def on_all_nodes(self, files, check, arguments=(), compare=True):
        """`check(run)` for the program under each engine; what the host shows is compared with a plain run."""
        program = self.write(files)
        self.directory.chmod(0o777)  # what the program writes there, it writes as another user the next time
        for version, node in INTERPRETERS:
            plain = self.plain_node(node, [*arguments, str(program)])
            for user in self.users(node):
                for engine in self.engines if user is None else ("inline",):
                    with self.subTest(node=node, engine=engine, user=user):
                        run = self.watched_node(os.path.realpath(node), [*arguments, str(program)], {**self.settings, "WATCHER_ENGINE": engine},
                                                user=user)
                        if compare:
                            self.assertEqual((run.stdout, run.status), (plain.stdout, plain.status), run.stderr[-600:])
                        check(run)
