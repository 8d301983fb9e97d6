"""What the tests of watcher-exec share: running it in a scratch directory, and a terminal with a shell in it."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

EXEC = os.path.abspath(os.environ["EXEC_UNDER_TEST"])
PYTHON = "/usr/bin/python3"


def clean_environment(**changes):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WATCHER_") and k != "LD_PRELOAD"}
    environment.update(changes)
    return environment


def read(path):
    with open(path) as file:
        return file.read()


def until(condition, seconds=10.0):
    """Polls; a slow machine is no failure, a hang is."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.01)


class ExecTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="watcher-exec-")
        self.output = os.path.join(self.directory, "out")
        self.addCleanup(shutil.rmtree, self.directory, True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def command(self, *arguments):
        return [EXEC, "--output", self.output, *arguments]

    def run_exec(self, *arguments, **options):
        options.setdefault("env", clean_environment())
        options.setdefault("cwd", self.directory)
        options.setdefault("timeout", 60)
        return subprocess.run(self.command(*arguments), capture_output=True, **options)

    def start(self, *arguments, **options):
        options.setdefault("env", clean_environment())
        process = subprocess.Popen(self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   cwd=self.directory, **options)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def assert_refused(self, result, code, *words):
        self.assertEqual(result.returncode, code, result)
        self.assertEqual(result.stdout, b"")
        sentence = result.stderr.decode()
        self.assertTrue(sentence.startswith("watcher-exec: "), sentence)
        self.assertEqual(sentence.count("\n"), 1, sentence)
        for word in words:
            self.assertIn(word, sentence)


class Terminal:
    """An interactive bash on a terminal of its own: the job control under test is the real one."""

    def __init__(self, directory):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"],
                      clean_environment(PS1="READY> ", TERM="dumb", EXEC=EXEC, PYTHON=PYTHON, HISTFILE=""))
        self.expect("READY> ")

    def send(self, text):
        os.write(self.fd, text.encode())

    def run(self, line):
        self.send(line + "\n")

    def expect(self, pattern, seconds=15.0):
        """Reads until the pattern appears, and forgets what came before its end."""
        end = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"{pattern!r} did not appear in {self.seen!r}")
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
        self.seen = self.seen[match.end():]
        return match

    def drain(self, seconds=0.3):
        end = time.monotonic() + seconds
        while select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
        return self.seen

    def close(self):
        os.close(self.fd)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def main():
    if not os.access(EXEC, os.X_OK):
        sys.exit(f"{EXEC} is not built")
    unittest.main(module="__main__")
