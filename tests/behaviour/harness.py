"""Runs unmodified programs with and without Watcher, on every interpreter found, and compares what the host shows.

Environment: WATCHER_BUILD names the build tree (default: ../../build).
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(os.environ.get("WATCHER_BUILD", pathlib.Path(__file__).parents[2] / "build")).resolve()
SUPPORTED = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
NOBODY = 65534
# What stands in for the package when a script that calls watch() runs without Watcher.
STUB = "def watch(value, name=None, **settings):\n    return value\n"


STUB_PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "python" / "watcher_stub" / "watcher"


def _version(python):
    probe = "import sys; print('%d.%d' % sys.version_info[:2], sys.implementation.name, sys.executable)"
    try:
        done = subprocess.run([python, "-I", "-c", probe], capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    words = done.stdout.split()
    return words[0] if done.returncode == 0 and words[1] == "cpython" and words[0] in SUPPORTED else None


def interpreters():
    """Every CPython 3.8–3.13 here, as (version, path): the system's, then pyenv's, then what PATH names."""
    roots = [pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv")) / "versions"]
    candidates = ["/usr/bin/python3"]
    for root in roots:
        candidates += sorted(str(path) for path in root.glob("3.*/bin/python3"))
    candidates += [path for path in (shutil.which("python" + version) for version in SUPPORTED) if path]
    found, seen = [], set()
    for python in candidates:
        if not os.path.exists(python) or "/shims/" in python or os.path.realpath(python) in seen:
            continue
        seen.add(os.path.realpath(python))
        version = _version(python)
        if version:
            found.append((version, python))
    return found


INTERPRETERS = interpreters()
MISSING = [version for version in SUPPORTED if version not in {found for found, _ in INTERPRETERS}]
if MISSING:
    print("not tested, no interpreter here: CPython " + ", ".join(MISSING), file=sys.stderr)


class Run:
    """One run of a program: what the host showed, and the events if it was watched."""

    def __init__(self, done, output=None):
        self.stdout, self.stderr, self.status = done.stdout, done.stderr, done.returncode
        self.events, self.summary = [], None
        if output is not None and (output / "events.jsonl").exists():
            self.events = [json.loads(line) for line in (output / "events.jsonl").read_text().splitlines()]
        if output is not None and (output / "summary.json").exists():
            self.summary = json.loads((output / "summary.json").read_text())

    def of(self, name):
        return [event for event in self.events if event["variable_name"] == name]


def value(side):
    """A decoded value as Python would have it; None for unbound."""
    if side is None:
        return None
    return side["value"] if "value" in side else side["repr"]


def changes(events):
    return [(event["op"], value(event["before"]), value(event["after"])) for event in events]


class Case(unittest.TestCase):
    """A test with a directory of its own; `files` are written there and the first one is the program.

    `settings` are WATCHER_* variables of every watched run.
    """

    settings = {}

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="watcher-test-"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.directory.chmod(0o755)

    def write(self, files):
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o644)
        return self.directory / next(iter(files))

    def execute(self, command, environment=None, user=None, timeout=120, **settings):
        env = {key: text for key, text in os.environ.items() if not key.startswith("WATCHER_")}
        env.update(environment or {})
        if user is not None:
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] + command
        return subprocess.run(command, cwd=self.directory, env=env, capture_output=True, timeout=timeout, **settings)

    def plain(self, python, program, arguments=(), user=None):
        stub = self.directory / "stub-package"  # another user may not see the source tree
        shutil.copytree(STUB_PACKAGE, stub / "watcher", dirs_exist_ok=True)
        return Run(self.execute([python, "-B", str(program), *arguments], {"PYTHONPATH": str(stub)}, user))

    def watched(self, python, program, arguments=(), config=None, options=(), user=None, preload=False, environment=None):
        """Under watcher-exec, or with `preload` under LD_PRELOAD alone."""
        if config is not None:
            (self.directory / "rules.toml").write_text(config)
            (self.directory / "rules.toml").chmod(0o644)
        output = pathlib.Path(tempfile.mkdtemp(prefix="out-", dir=self.directory))
        if user is not None:
            os.chown(output, user, user)
        command = [python, "-B", str(program), *arguments]
        env = {**self.settings, **(environment or {})}
        if preload:
            env.update(LD_PRELOAD=str(BUILD / "preload" / "libwatcher_preload.so"), WATCHER_OUTPUT=str(output))
            if config is not None:
                env["WATCHER_CONFIG"] = str(self.directory / "rules.toml")
        else:
            launcher = [str(BUILD / "tools" / "watcher-exec"), "--output", str(output), *options]
            if config is not None:
                launcher += ["--config", str(self.directory / "rules.toml")]
            command = launcher + ["--"] + command
        return Run(self.execute(command, env, user), output)

    def assert_same_host(self, plain, watched):
        self.assertEqual(watched.stdout, plain.stdout)
        self.assertEqual(self.without_addresses(watched.stderr), self.without_addresses(plain.stderr))
        self.assertEqual(watched.status, plain.status)

    @staticmethod
    def without_addresses(text):
        return re.sub(rb"0x[0-9a-f]+", b"0x", text)

    def on_all(self, files, check, config=None, users=(None,), preload=(False,), **settings):
        """Runs the program plainly and watched on every interpreter, compares the host's side, and hands over the events."""
        program = self.write(files)
        for version, python in INTERPRETERS:
            for user in users:
                if user is not None and (os.getuid() != 0 or not readable_by_others(python)):
                    continue
                plain = self.plain(python, program, user=user)
                for alone in preload:
                    with self.subTest(python=python, user=user, preload=alone):
                        watched = self.watched(python, program, config=config, user=user, preload=alone, **settings)
                        self.assert_same_host(plain, watched)
                        check(watched)


def readable_by_others(path):
    """Can another user run this file and the build tree?"""
    for start in (pathlib.Path(os.path.realpath(path)), BUILD / "tools" / "watcher-exec"):
        for part in (start, *start.parents):
            if not part.stat().st_mode & 0o001:
                return False
    return True


def main():
    unittest.main(verbosity=1)
