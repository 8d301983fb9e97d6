#!/usr/bin/env python3
"""What watching objects costs: prints figures and ratios measured in this run, asserts nothing.

    tests/bench/objects.py [BUILD]

For each kind of change: the same loop over a plain object and over a watched one, in the same process, the plain one measured before anything is
watched ("bare"), in turns with the watched one ("in turns": the processor's speed changes), and when an object of its class is watched ("beside").
The ring is written without waiting for its reader: bursts are shorter than the ring.
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

PROGRAM = """
import time, types
from collections import Counter, OrderedDict, deque
from watcher import watch

class Plain:
    pass
class Slotted:
    __slots__ = ("x",)
class Other:
    pass

def list_append(x, n):
    for i in range(n): x.append(i)
def list_pop(x, n):
    x.extend(range(n))
    for i in range(n): x.pop()
def list_store(x, n):
    for i in range(n): x[0] = i
def dict_store(x, n):
    for i in range(n): x["k"] = i
def dict_pop(x, n):
    for i in range(n): x.pop("none", None)
def set_add(x, n):
    for i in range(n): x.add(1)
def deque_append(x, n):
    for i in range(n): x.append(i)
def ordered_store(x, n):
    for i in range(n): x["k"] = i
def counter_store(x, n):
    for i in range(n): x["k"] = i
def attribute(x, n):
    for i in range(n): x.x = i
def slot(x, n):
    for i in range(n): x.x = i
def other_attribute(x, n):
    for i in range(n): x.x = i
def nested_append(x, n):
    x = x["a"]["b"]
    for i in range(n): x.append(i)

makers = {list_append: lambda: [0], list_pop: lambda: [0], list_store: lambda: [0], dict_store: dict, dict_pop: dict, set_add: set, deque_append: deque,
          ordered_store: OrderedDict, counter_store: Counter, attribute: Plain, slot: Slotted, other_attribute: Other,
          nested_append: lambda: {"a": {"b": []}}}
of_no_watched_class = {attribute: type("Plain", (), {}), slot: type("Slotted", (), {"__slots__": ("x",)})}

def fastest(loop, *arms, laps=40, n=2000):
    best = [1e9] * len(arms)
    loops = [types.FunctionType(loop.__code__.replace(), globals()) for _ in arms]  # newer interpreters adapt code to what it sees
    for _ in range(laps):
        if len(arms) > 1:
            time.sleep(0.03)  # the reader catches up
        for arm, make in enumerate(arms):
            x = make()
            start = time.perf_counter()
            loops[arm](x, n)
            best[arm] = min(best[arm], time.perf_counter() - start)
    return [time / n * 1e9 for time in best]

bare = {loop: fastest(loop, make)[0] for loop, make in makers.items()}
kept = []
def watched_copy(make):
    def made():
        kept[:] = [watch(make())]
        return kept[0]
    return made
touched = watch([])
for _ in range(40):  # every page of the ring, once
    time.sleep(0.02)
    list_append(touched, 2000)
def in_turns(loop, make):
    plain = of_no_watched_class.get(loop, make)
    first, watched, second = fastest(loop, plain, watched_copy(make), plain)  # the lap behind a rest is a slow one
    return min(first, second), watched
pairs = {loop: in_turns(loop, make) for loop, make in makers.items() if loop is not other_attribute}
beside = {loop: fastest(loop, make)[0] for loop, make in makers.items()}
for loop in makers:
    print(loop.__name__, bare[loop], beside[loop], *pairs.get(loop, [float("nan")] * 2))
"""


def main():
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        directory = pathlib.Path(name)
        (directory / "objects.py").write_text(PROGRAM)
        for version, python in harness.INTERPRETERS:
            done = subprocess.run([harness.BUILD / "tools/watcher-exec", "--output", directory / version, python, directory / "objects.py"],
                                  capture_output=True, text=True)
            print(f"{version} {python}, ns an operation {done.stderr}")
            for line in done.stdout.splitlines():
                kind, *times = line.split()
                bare, beside, plain, watched = map(float, times)
                print(f"  {kind:16} bare {bare:6.1f}   beside {beside:6.1f} ({beside / bare:5.2f} x)   in turns {plain:6.1f}   watched {watched:7.1f} (+{watched - plain:6.1f})")


if __name__ == "__main__":
    main()
