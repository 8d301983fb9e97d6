#!/usr/bin/env python3
"""What recording costs: prints figures and ratios measured in this run, asserts nothing.

    tests/bench/first_light.py [BUILD]

  hooked store    a loop of `counter = counter + 1` in a function, hooked and plain, in the same process; the ring is
                  written without waiting for the reader (bursts shorter than the ring, pages touched before)
  captured write  a store to watched memory over the bare delivery of a SIGSEGV (bench_engine)
  pipeline        int stores from ring to JSON lines (bench_pipeline)
  start-up        `python3 -c pass`: plain, with the shim and nothing watched, and with 100 names configured
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "behaviour"))
if len(sys.argv) > 1:
    os.environ["WATCHER_BUILD"] = sys.argv[1]
import harness  # noqa: E402 (needs the build's place)

LOOP = """
import sys, time
def hooked(n):
    counter = 0
    start = time.perf_counter()
    for i in range(n):
        counter = counter + 1
    return (time.perf_counter() - start) / n * 1e9
def plain(n):
    other = 0
    start = time.perf_counter()
    for i in range(n):
        other = other + 1
    return (time.perf_counter() - start) / n * 1e9
BURST, LAPS = 8000, 40
for lap in range(12):  # touch every page of the ring once
    hooked(BURST)
    time.sleep(0.02)
best_plain = best_hooked = 1e9
for lap in range(LAPS):
    time.sleep(0.02)  # the reader catches up and sleeps
    best_plain = min(best_plain, plain(BURST))
    best_hooked = min(best_hooked, hooked(BURST))
start = time.perf_counter()
hooked(1000000)
rate = 1000000 / (time.perf_counter() - start)
print(best_plain, best_hooked, rate)
"""


def hooked_store(directory):
    print("hooked store, ns an iteration of `counter = counter + 1`")
    (directory / "loop.py").write_text(LOOP)
    (directory / "rules.toml").write_text('[[watch]]\nfile = "loop.py"\nlocal = ["counter"]\n')
    for version, python in harness.INTERPRETERS:
        done = subprocess.run([harness.BUILD / "tools/watcher-exec", "--config", directory / "rules.toml", "--output",
                               directory / "out", python, directory / "loop.py"], capture_output=True, text=True)
        plain, hooked, rate = map(float, done.stdout.split())
        print(f"  {version:5} {python:55} plain {plain:5.1f}  hooked {hooked:5.1f}  +{hooked - plain:4.1f}"
              f"   sustained {rate:9,.0f} events/s")


def start_up(directory):
    print("start-up of python3 -c pass, ms (median of 60, minimum)")
    python = harness.INTERPRETERS[0][1]
    base = {key: text for key, text in os.environ.items() if not key.startswith("WATCHER_")}
    shim = dict(base, LD_PRELOAD=str(harness.BUILD / "preload/libwatcher_preload.so"))
    names = ", ".join(f'"name_{i}"' for i in range(100))
    (directory / "names.toml").write_text(f'[[watch]]\nfile = "app.py"\nlocal = [{names}]\n')
    watched = dict(shim, WATCHER_OUTPUT=str(directory / "start"), WATCHER_CONFIG=str(directory / "names.toml"))
    arms = {"plain": base, "shim, nothing watched": shim, "watched, 100 names": watched}
    times = {arm: [] for arm in arms}
    for _ in range(60):
        for arm, environment in arms.items():
            start = time.perf_counter()
            subprocess.run([python, "-c", "pass"], env=environment, cwd=directory, check=True)
            times[arm].append((time.perf_counter() - start) * 1e3)
    floor = sorted(times["plain"])
    for arm, values in times.items():
        values = sorted(values)
        print(f"  {arm:24} {values[30]:6.2f} ({values[0]:.2f})   +{values[30] - floor[30]:.2f} (+{values[0] - floor[0]:.2f})")


def main():
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        directory = pathlib.Path(name)
        hooked_store(directory)
        for program in ("bench_engine", "bench_pipeline"):
            sys.stdout.flush()
            subprocess.run([harness.BUILD / "tests/bench" / program], check=True, cwd=directory)
        start_up(directory)


if __name__ == "__main__":
    main()
