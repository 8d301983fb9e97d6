#!/usr/bin/env python3
"""The same work under Watcher and under other tools that tell of a variable's changes: ratios of one run, asserts nothing.

    tests/bench/peers.py [BUILD] [PYTHON]

`counter = counter + 1` in a loop of a function; each tool is asked for the values of `counter`. Every tool has a process of its own, which
measures the loop plainly first: the ratio is to that. The tools are taken from where PYTHON finds them (PYTHONPATH names places);
those that are missing are named. `told` is how many of the loop's changes the tool told.
Times are of the processor, so that a busy machine counts less.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "behaviour"))
if len(sys.argv) > 1:
    os.environ["WATCHER_BUILD"] = sys.argv[1]
import harness  # noqa: E402 (needs the build's place)

# `work` stands in a module of its own, so that what a tool makes of it leaves the rest alone.
WORK = """
def work(n):
    counter = 0
    for i in range(n):
        counter = counter + 1
    return counter
"""
PLAIN = WORK.replace("work", "plain").replace("counter", "other")

MEASURE = """
import re, sys, time
from plain import plain
def fastest(loop, n, laps, before=lambda: None):
    best = 1e9
    for _ in range(laps):
        before()
        start = time.process_time()  # of a busy machine, too
        loop(n)
        best = min(best, time.process_time() - start)
    return best / n * 1e9
bare = fastest(plain, 4000, 100)
"""

# Each ends with `told`, of `of` changes, and `ns`.
ARMS = {
    "Watcher": """
from work import work
fastest(work, 4000, 12, lambda: time.sleep(0.02))  # every page of the ring, once
ns = fastest(work, 4000, 60, lambda: time.sleep(0.02))
told = of = -1
""",
    "sys.settrace": """
from work import work
seen = []
def local(frame, event, argument):
    if event == "line" or event == "return":
        value = frame.f_locals.get("counter")
        if not seen or seen[-1] != value: seen.append(value)
    return local
def trace(frame, event, argument):
    return local if frame.f_code.co_name == "work" else None
sys.settrace(trace)
ns, of = fastest(work, 2000, 20, seen.clear), 2000
sys.settrace(None)
told = len([value for value in seen if value])
""",
    "sys.monitoring": """
from work import work
seen = []
def line(code, number):
    value = sys._getframe(1).f_locals.get("counter")
    if not seen or seen[-1] != value: seen.append(value)
events = sys.monitoring.events
sys.monitoring.use_tool_id(0, "bench")
sys.monitoring.register_callback(0, events.LINE, line)
sys.monitoring.set_local_events(0, work.__code__, events.LINE)
ns, of = fastest(work, 2000, 20, seen.clear), 2000
told = len([value for value in seen if value])
""",
    "hunter": """
import hunter, io
from work import work
text = io.StringIO()
hunter.trace(hunter.Q(function="work"), action=hunter.VarsSnooper(stream=text))
ns, of = fastest(work, 300, 5, lambda: (text.seek(0), text.truncate())), 300
hunter.stop()
told = len(re.findall("counter : .* => ", text.getvalue()))
""",
    "PySnooper": """
import pysnooper, io
from work import work
text = io.StringIO()
snooped = pysnooper.snoop(text)(work)
ns, of = fastest(snooped, 300, 5, lambda: (text.seek(0), text.truncate())), 300
told = text.getvalue().count("Modified var:.. counter")
""",
    "watchpoints": """
import watchpoints
seen = []
watchpoints.watch.config(callback=lambda frame, element, where: seen.append(element))
source = open("work.py").read().replace("counter = 0\\n", "counter = 0\\n    watch(counter)\\n")
open("watched_work.py", "w").write("from watchpoints import watch, unwatch\\n" + source.replace("    return", "    unwatch()\\n    return"))
from watched_work import work
ns, of = fastest(work, 300, 5, seen.clear), 300
told = len(seen)
""",
    "VizTracer": """
import json, builtins
from viztracer import VizTracer
from viztracer.code_monkey import CodeMonkey
monkey = CodeMonkey("work.py")
monkey.add_instrument("log_var", {"varnames": ["counter"]})
tracer = VizTracer(verbose=0, output_file="viz.json", tracer_entries=10000)
builtins.__viz_tracer__ = tracer
names = {}
exec(monkey.compile(open("work.py").read(), "work.py", "exec"), names)
def again():
    tracer.clear()
tracer.start()
ns, of = fastest(names["work"], 2000, 20, again), 2000
tracer.stop()
tracer.parse()
told = sum("counter" in json.dumps(event) for event in tracer.data["traceEvents"]) - 1
""",
}


def run(python, directory, arm, body):
    (directory / "arm.py").write_text(MEASURE + body + "print(bare, ns, told, of)\n")
    command = [python, "arm.py"]
    if arm == "Watcher":
        command = [harness.BUILD / "tools/watcher-exec", "--config", "rules.toml", "--output", "out"] + command
    return subprocess.run(command, cwd=directory, capture_output=True, text=True)


def main():
    python = sys.argv[2] if len(sys.argv) > 2 else harness.INTERPRETERS[0][1]
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        directory = pathlib.Path(name)
        (directory / "work.py").write_text(WORK)
        (directory / "plain.py").write_text(PLAIN)
        (directory / "rules.toml").write_text('[[watch]]\nfile = "work.py"\nlocal = ["counter"]\n')
        print(f"{python}: a store of `counter`, ns")
        missing = []
        for arm, body in ARMS.items():
            done = run(python, directory, arm, body)
            if done.returncode != 0:
                missing.append(f"{arm} ({done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode})")
                continue
            bare, ns, told, of = map(float, done.stdout.split()[-4:])
            if arm == "Watcher":
                told, of = len((directory / "out/events.jsonl").read_text().splitlines()), 72 * 4001
            print(f"  {arm:15} bare {bare:6.1f}   with {ns:9.1f}   {ns / bare:7.1f} x   told {told:.0f} of {of:.0f}")
        for arm in missing:
            print("  missing:", arm)


if __name__ == "__main__":
    main()
