"""What the tests of the `watcher` tool share: running it, and programs with a record to look at."""

import json
import os
import pathlib
import subprocess

from exec_support import EXEC, ExecTest, PYTHON, clean_environment

TOOL = os.path.join(os.path.dirname(EXEC), "watcher")
APP = """
from watcher import watch

def grow(state):
    state["n"] = 2

def main():
    state = watch({"n": 1}, name="state")
    grow(state)
    text = watch("a", name="text")
    text = "b"
    text = "c"
    text = "b"
"""
LOOP = """
import sys, time
from watcher import watch
count, numbers = watch(0, name="count"), watch(bytearray(8), name="numbers")
print("ready", flush=True)
while True:
    count += 1
    numbers[0] = count & 255
    time.sleep(0.002)
"""


class Tool(ExecTest):
    def tool(self, *arguments, status=0, **options):
        done = subprocess.run([TOOL, *arguments], capture_output=True, cwd=self.directory, timeout=120,
                              env=clean_environment(**options))
        self.assertEqual(done.returncode, status, done)
        self.said = done.stderr.decode()
        return done.stdout.decode()

    def record(self, text=APP):
        self.write("app.py", text)
        done = self.run_exec("--python", PYTHON, "--user-script", "app.py")
        self.assertEqual(done.returncode, 0, done)

    def events(self):
        lines = pathlib.Path(self.output, "events.jsonl")
        return [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
