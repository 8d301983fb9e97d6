#!/usr/bin/env python3
"""How many events a second go through trivial processors, from the program's first store to the end of the run.

    tests/bench/processors.py [BUILD [EVENTS]]

Prints figures of one run each, asserts nothing. The program, the collector and the worker share the machine's processors.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "behaviour"))
if len(sys.argv) > 1:
    os.environ["WATCHER_BUILD"] = sys.argv[1]
import harness  # noqa: E402 (needs the build's place)

EVENTS = int(sys.argv[2]) if len(sys.argv) > 2 else 300_000
SOURCE = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = "def main():\n    for i in range(%d):\n        v = i\nmain()\n" % EVENTS
PYTHON = "def main(event):\n    return {'action': 'pass'}\n"
NOTES = "def main(event):\n    return {'action': 'annotate', 'annotations': {'line': event['line']}}\n"
NODE = "exports.main = (event) => ({ action: 'pass' });\n"
PLUGIN = """#include <watcher/processor.hpp>
struct Pass final : watcher::Processor {
  watcher::Response process(const watcher::Event&) override { return watcher::pass(); }
};
WATCHER_PROCESSOR(Pass)
"""


def rate(directory, tables):
    config = '[[watch]]\nfile = "app.py"\nlocal = ["v"]\n' + tables
    (directory / "rules.toml").write_text(config)
    output = directory / "out"
    shutil.rmtree(output, True)
    command = [harness.BUILD / "tools/watcher-exec", "--config", directory / "rules.toml", "--output", output, "--",
               "/usr/bin/python3", directory / "app.py"]
    subprocess.run(command, check=True)
    summary = json.loads((output / "summary.json").read_text())
    with open(output / "events.jsonl") as file:
        first = json.loads(file.readline())["timestamp_ns"]
    assert summary["written"] == EVENTS, summary["written"]
    return EVENTS / (summary["ended_ns"] - first) * 1e9


def main():
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        directory = pathlib.Path(name)
        include = directory / "include" / "watcher"
        include.mkdir(parents=True)
        for header in ("plugin.h", "processor.hpp"):
            (include / header).symlink_to(SOURCE / "runtime" / "process" / header)
        for file, text in {"app.py": PROGRAM, "pass.py": PYTHON, "notes.py": NOTES, "pass.js": NODE, "pass.cpp": PLUGIN}.items():
            (directory / file).write_text(text)
        subprocess.run(["g++", "-std=c++17", "-O2", "-shared", "-fPIC", f"-I{include.parent}", directory / "pass.cpp", "-o",
                        directory / "pass.so"], check=True)
        script = '[[processor]]\npath = "%s"\n'
        for what, tables in (("no processor", ""), ("filter, first", '[[processor]]\ntype = "filter"\nwhen = "new >= 0"\n'),
                             ("Python, pass", script % "pass.py"), ("Python, annotate", script % "notes.py"),
                             ("JavaScript, pass", script % "pass.js"),
                             ("plug-in, pass", '[[processor]]\ntype = "plugin"\npath = "pass.so"\n'),
                             ("Python, then JavaScript", script % "pass.py" + script % "pass.js")):
            print(f"{what:25}{rate(directory, tables):12,.0f} events/s", flush=True)


if __name__ == "__main__":
    main()
