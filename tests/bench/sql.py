#!/usr/bin/env python3
"""What track_sql costs sqlite3: ns a call and ratios measured in this run, asserts nothing.

    tests/bench/sql.py [BUILD]

The best of many short laps of each arm, the arms taking turns: the same program plain, watched without track_sql, and
with it.
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
import sqlite3, time
connection = sqlite3.connect(":memory:", isolation_level=None)
cursor = connection.cursor()
cursor.execute("create table t (a, b)")
def on_cursor():
    for i in range(2000):
        cursor.execute("select 1")
def on_connection():
    for i in range(2000):
        connection.execute("select 1")
def with_parameters():
    for i in range(2000):
        cursor.execute("insert into t values (?, ?)", (i, "x"))
def fetched():
    for i in range(2000):
        cursor.execute("select 1").fetchone()
for job in (on_cursor, on_connection, with_parameters, fetched):
    best = 1e9
    for lap in range(40):
        start = time.perf_counter()
        job()
        best = min(best, time.perf_counter() - start)
        cursor.execute("delete from t")
    print(job.__name__, best / 2000 * 1e9)
"""
ROUNDS = 5


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name: float(number) for name, number in (line.split() for line in done.stdout.splitlines())}


def main():
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        program = pathlib.Path(name) / "program.py"
        program.write_text(PROGRAM)
        launcher = [str(harness.BUILD / "tools/watcher-exec"), "--output", name + "/out"]
        for version, python in harness.INTERPRETERS:
            arms = {"plain": [], "watched": launcher + ["--"], "track_sql": launcher + ["--track-sql", "--"]}
            best = {}
            for _ in range(ROUNDS):
                for arm, prefix in arms.items():
                    for job, ns in run(prefix + [python, str(program)]).items():
                        best[job, arm] = min(ns, best.get((job, arm), 1e9))
            print(f"{version:5} {python}")
            for job in dict.fromkeys(job for job, _ in best):
                plain, watched, tracked = (best[job, arm] for arm in arms)
                print(f"  {job:16} plain {plain:7.0f} ns  watched {watched - plain:+5.0f}  track_sql {tracked - plain:+5.0f}"
                      f"  ratio {tracked / plain:.3f}")


if __name__ == "__main__":
    main()
