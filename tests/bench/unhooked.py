#!/usr/bin/env python3
"""What code costs in which nothing is watched: prints figures and ratios measured in this run, asserts nothing.

    tests/bench/unhooked.py [BUILD]

The same program bare, with the shim alone, and with a name of another module watched, whose events are written by then. The three take turns;
of each process the least lap counts, in processor time. Where there is valgrind, a lap's instructions as well: they are the same on
a busy machine.
"""

import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "behaviour"))
if len(sys.argv) > 1:
    os.environ["WATCHER_BUILD"] = sys.argv[1]
import harness  # noqa: E402 (needs the build's place)

ROUNDS, LAPS = 11, 12
OTHER = "def count():\n    counter = 0\n    for i in range(100):\n        counter = counter + 1\n"
PROGRAM = """
import sys, time
import other

class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y
    def moved(self, by):
        return Point(self.x + by, self.y - by)
class Counter3d(Point):
    __slots__ = ("z",)
    @property
    def sum(self):
        return self.x + self.y
    def __eq__(self, other):
        return self.sum == other.sum
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
def numbers(n):
    for i in range(n):
        yield i * 2
def calls(n):
    def inner(a, b=2, *rest, **named):
        return a + b
    for i in range(n):
        total = inner(i) + inner(i, 3) + inner(i, b=4) + len((lambda *x: x)(i, n))
    return total
def work():
    fibonacci(17)
    point, things, known = Point(1, 2), [], {}
    for i in range(9000):
        point = point.moved(1)
        point.x += i
        things.append(point.x & 255)
        known[i & 63] = things[-1]
        things[i // 2] = i
    total = sum(numbers(9000)) + sum(x for x in things if x & 1)
    words = " ".join(f"{word:>4}" for word in things).split()
    ordered = sorted(set(words), key=lambda word: (len(word), word))
    counter = Counter3d(1, 2)
    for i in range(3000):
        counter.z = i
        counter == counter
        try:
            known[ordered[i % len(ordered)]]
        except KeyError as error:
            total += len(error.args)
    calls(3000)
    return {word: index for index, word in enumerate(ordered)}, bytearray(b"x" * 900) + b"y", id(total), [str(w) for w in words[:50]]

other.count()
least = 1e9
for _ in range(int(sys.argv[1])):
    start = time.process_time()
    work()
    least = min(least, time.process_time() - start)
print(least)
"""


def environments(directory):
    bare = {key: text for key, text in os.environ.items() if not key.startswith("WATCHER_")}
    bare["PYTHONHASHSEED"] = "0"
    shim = dict(bare, LD_PRELOAD=str(harness.BUILD / "preload/libwatcher_preload.so"))
    (directory / "rules.toml").write_text('[[watch]]\nfile = "other.py"\nlocal = ["counter"]\n')
    return {"bare": bare, "shim alone": shim,
            "a name elsewhere": dict(shim, WATCHER_CONFIG=str(directory / "rules.toml"), WATCHER_OUTPUT=str(directory / "out"))}


def run(command, laps, environment):
    return subprocess.run([*command, "program.py", str(laps)], env=environment, cwd=environment["PWD"], capture_output=True, text=True, check=True)


def instructions(python, environment):
    """Of a lap, as valgrind counts them."""
    def counted(laps):
        tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", python, "-B"]
        return max(map(int, re.findall(r"Collected : (\d+)", run(tool, laps, environment).stderr)))  # the helpers are counted, too
    return counted(2) - counted(1) if shutil.which("valgrind") else None


def main():
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        directory = pathlib.Path(name)
        (directory / "program.py").write_text(PROGRAM)
        (directory / "other.py").write_text(OTHER)
        arms = environments(directory)
        for environment in arms.values():
            environment["PWD"] = name
        for version, python in harness.INTERPRETERS:
            laps = {arm: [] for arm in arms}
            for _ in range(ROUNDS):
                for arm, environment in arms.items():
                    laps[arm].append(float(run([python, "-B"], LAPS, environment).stdout) * 1e3)
            print(f"{version} {python}, ms of processor time a lap: least, median")
            floor, middle = min(laps["bare"]), statistics.median(laps["bare"])
            counts = {arm: instructions(python, environment) for arm, environment in arms.items()}
            for arm, times in laps.items():
                least, median = min(times), statistics.median(times)
                counted = f"   {counts[arm] / 1e6:8.3f} million instructions ({counts[arm] / counts['bare'] * 100 - 100:+5.2f} %)" if counts[arm] else ""
                print(f"  {arm:16} {least:7.3f} ({least / floor * 100 - 100:+5.2f} %)  {median:7.3f} ({median / middle * 100 - 100:+5.2f} %){counted}")


if __name__ == "__main__":
    main()
