#!/usr/bin/env python3
"""Events a second from a Python program's hook to rotated JSON lines, for as long as 50,000,000 of them take.

    tests/bench/sustained.py [BUILD [EVENTS [DIRECTORY]]]

Prints the rate beside that of a bare write() of the same bytes into files of the same size, what was lost, and the resident memory
of program and collector (without the queue's pages, which are shared) in tenths of the run. Asserts nothing. The files take up to 3 GB.
"""

import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2] / "build").resolve()
EVENTS = int(sys.argv[2]) if len(sys.argv) > 2 else 50_000_000
DIRECTORY = sys.argv[3] if len(sys.argv) > 3 else None
FILE_BYTES = 1 << 30
BLOCK = b"x" * (256 * 1024)
PROGRAM = "def main():\n    for i in range(%d):\n        v = i\nmain()\n" % EVENTS


def private_kb(pid):
    """Of a process that still runs."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])
    except (OSError, StopIteration):
        return None



class Samples(threading.Thread):
    """Resident memory by the second, until the processes are gone."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.kb = pid, {"collector": [], "program": []}

    def run(self):
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children")
        while True:
            try:
                program = children.read_text().split()
            except OSError:
                return
            for name, pid in (("collector", self.pid), ("program", program[0] if program else None)):
                if pid and (kb := private_kb(pid)) is not None:
                    self.kb[name].append(kb)
            time.sleep(0.2)


def watched(directory, output):
    (directory / "app.py").write_text(PROGRAM)
    (directory / "rules.toml").write_text('[[watch]]\nfile = "app.py"\nlocal = ["v"]\n')
    process = subprocess.Popen([BUILD / "tools/watcher-exec", "--config", directory / "rules.toml", "--output", output, "--rotate-size",
                                str(FILE_BYTES), "--rotate-keep", "2", "--", "/usr/bin/python3", directory / "app.py"])
    samples = Samples(process.pid)
    samples.start()
    _, status, usage = os.wait4(process.pid, 0)
    samples.join()
    summary = json.loads((output / "summary.json").read_text())
    return status, summary, samples.kb, usage.ru_utime + usage.ru_stime


def bare(directory, total):
    """The same bytes, into files of the same size, of which as many are kept."""
    start, used = time.monotonic(), sum(os.times()[:2])
    names = []
    while total > 0:
        names.append(directory / f"bare.{len(names)}")
        if len(names) > 3:
            names[-4].unlink()
        file = os.open(names[-1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        room = min(total, FILE_BYTES)
        total -= room
        while room > 0:
            room -= os.write(file, BLOCK[:room])
        os.close(file)
    return time.monotonic() - start, sum(os.times()[:2]) - used


def main():
    with tempfile.TemporaryDirectory(prefix="watcher-sustained-", dir=DIRECTORY) as name:
        directory = pathlib.Path(name)
        output = directory / "out"
        status, summary, kb, processor = watched(directory, output)
        with open(output / "events.jsonl", "rb") as file:
            line_bytes = sum(len(line) for line in itertools.islice(file, 1000)) // 1000
        for path in output.glob("events*"):
            path.unlink()
        seconds = (summary["ended_ns"] - summary["started_ns"]) / 1e9
        bare_s, bare_processor = bare(directory, line_bytes * summary["written"])
    print(f"{summary['written']:,} events of {line_bytes} bytes written, {summary['dropped']} lost, status {status}")
    print(f"from start to end {seconds:.1f} s: {summary['written'] / seconds:,.0f} events/s; bare write() of the same bytes {bare_s:.1f} s")
    print(f"processor time: program and collector {processor:.1f} s, bare write() {bare_processor:.1f} s")
    for who, values in kb.items():
        tenths = [max(part) for i in range(10) if (part := values[len(values) * i // 10:len(values) * (i + 1) // 10])]
        print(f"{who}: private resident memory, the most in each tenth of the run: {' '.join(map(str, tenths))} KB")


if __name__ == "__main__":
    main()
