"""What bulk statements on watched memory cost, as ratios to the bare statement. Prints; asserts nothing.

    WATCHER_BUILD=build python3 tests/bench/bulk.py [engine ...]
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(os.environ.get("WATCHER_BUILD", pathlib.Path(__file__).parents[2] / "build")).resolve()
TURNS = 5
PROGRAM = """
import sys, time
MB = 64
if sys.argv[1] == "watched":
    from watcher import watch
else:
    watch = lambda value, name: value
ROUNDS = 7
def cost(statement):
    statement(); statement()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time(); statement(); times.append(time.process_time() - start)
    return sorted(times)[len(times) // 2]
cases = {}
try:
    import numpy as np
    a = watch(np.zeros(MB << 17), name="a")
    other = np.ones(MB << 17)
    def increment(): np.add(a, 1, out=a)
    def part(): a[1000:3000] += 1
    def fill(): a.fill(time.perf_counter())
    def copy(): a[:] = other
    def strided(): a[::512] += 1
    cases.update({"a += 1": increment, "a[1000:3000] += 1": part, "a.fill(x)": fill, "a[:] = b": copy,
                  "a[::512] += 1": strided})
except ImportError:
    pass
buffer = watch(bytearray(MB << 20), name="buffer")
view = memoryview(buffer)
source = [bytes([n]) * (MB << 20) for n in (1, 2)]
turn = 0
def slice_copy():
    global turn
    turn += 1
    view[:] = source[turn % 2]
def small_slice():
    global turn
    turn += 1
    view[100:20100] = source[turn % 2][:20000]
def element_loop():
    for i in range(1000):
        view[i] = 1
cases.update({"view[:] = bytes": slice_copy, "view[100:20100] = bytes": small_slice, "1000 times view[i] = 1": element_loop})
for name, statement in cases.items():
    print(name, cost(statement), sep="\\t")
"""


def costs(directory, python, mode, engine=None):
    program = directory / "program.py"
    program.write_text(PROGRAM)
    command = [python, str(program), mode]
    if mode == "watched":
        command = [str(BUILD / "tools" / "watcher-exec"), "--output", str(directory / engine), "--engine", engine,
                   "--mutation-depth", "4096", "--"] + command
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return {name: float(seconds) for name, seconds in re.findall(r"(.*)\t(.*)\n", done.stdout)}


def main():
    python = os.environ.get("PYTHON", "/usr/bin/python3")
    engines = sys.argv[1:] or ["inline", "uffd"]
    turns = []  # the bare program runs beside each watched one: a virtual machine's speed changes from hour to hour
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        directory = pathlib.Path(name)
        for _ in range(TURNS):
            bare = costs(directory, python, "bare")
            turns.append((bare, {engine: costs(directory, python, "watched", engine) for engine in engines}))
    median = lambda values: sorted(values)[len(values) // 2]
    for engine in engines:
        for case in turns[0][0]:
            plain = median([bare[case] for bare, _ in turns])
            watched = median([watched[engine][case] for _, watched in turns])
            ratio = median([watched[engine][case] / bare[case] for bare, watched in turns])
            print(f"{engine:7} {case:26} bare {plain * 1e3:9.4f} ms  watched {watched * 1e3:9.4f} ms  ratio {ratio:8.2f}")


main()
