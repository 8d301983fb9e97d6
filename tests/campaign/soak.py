#!/usr/bin/env python3
"""A server under load for an hour, watched: nothing lost, nothing grows.

    soak.py [--minutes 60] [--engine auto] [--python PATH]

The server changes a watched counter, a dict and a buffer 2,000 times a second and answers HTTP requests, each of which changes what is
watched too. It counts its changes itself; the lines must be as many. Memory, descriptors and threads of it and of its collector are read
from /proc twenty times. Environment: WATCHER_BUILD.
"""

import argparse
import collections
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("WATCHER_BUILD", HERE.parents[1] / "build")).resolve()
SERVER = '''
import http.server, sys, threading, time
from watcher import watch
counter = 0
state = watch({"served": 0}, name="state")
buffer = watch(bytearray(256), name="buffer")
changes = {"counter": 0, "state": 0, "buffer": 0}
served = threading.Lock()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with served:
            state["served"] += 1
            changes["state"] += 1
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *ignored): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
end = time.monotonic() + float(sys.argv[1])
while (now := time.monotonic()) < end:
    for i in range(19):
        counter = changes["counter"] = changes["counter"] + 1
    buffer[counter % 256] = (buffer[counter % 256] + 1) % 256
    changes["buffer"] += 1
    time.sleep(max(0, now + 0.01 - time.monotonic()))
server.shutdown()
time.sleep(0.5)
with served: print(*(f"{name}={count}" for name, count in changes.items()), flush=True)
'''


def private_kb(pid):
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


def sample(pid):
    return private_kb(pid), len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def child_of(pid):
    return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def load(port, done, counts):
    while not done.is_set():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                counts["ok" if answer.read() == b"ok" else "wrong"] += 1
        except OSError:
            counts["failed"] += not done.is_set()
        time.sleep(0.02)


def count_lines(directory):
    found = collections.Counter()
    for name in sorted(directory.glob("events*.jsonl*")):
        with open(name, "rb") as lines:
            for line in lines:
                found[line.split(b'"variable_name":"', 1)[1].split(b'"', 1)[0].decode()] += 1
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--python", default="/usr/bin/python3")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="watcher-soak-") as name:
        directory = pathlib.Path(name)
        (directory / "server.py").write_text(SERVER)
        (directory / "w.toml").write_text('first_bindings = "skip"\n[[watch]]\nfile = "server.py"\nglobal = ["counter"]\n')
        command = [BUILD / "tools" / "watcher-exec", "--config", directory / "w.toml", "--output", directory / "out", "--engine",
                   options.engine, "--", options.python, directory / "server.py", str(options.minutes * 60)]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        port = int(run.stdout.readline())
        done, counts = threading.Event(), collections.Counter()
        threading.Thread(target=load, args=(port, done, counts), daemon=True).start()
        time.sleep(options.minutes)  # a sixtieth, for everything to have been used once
        samples = []
        for _ in range(20):
            samples.append([sample(pid) for pid in (child_of(run.pid), run.pid)])
            time.sleep(options.minutes * 60 * 0.98 / 20)
        done.set()
        changes = dict((name, int(count)) for name, count in (part.split("=") for part in run.stdout.read().split()))
        status = run.wait()
        lines = count_lines(directory / "out")
    for who, part in (("server", 0), ("collector", 1)):
        for what, index in (("private KB", 0), ("descriptors", 1), ("threads", 2)):
            print(f"{who}, {what}: {' '.join(str(each[part][index]) for each in samples)}")
    print(f"requests: {dict(counts)}; changes: {changes}; lines: {dict(lines)}; status {status}")
    growth = [max(each[part][0] for each in samples[10:]) - samples[0][part][0] for part in (0, 1)]
    lost = {name: count - lines[name] for name, count in changes.items() if count != lines[name]}
    print(f"growth: {growth} KB; lost: {lost or 'none'}")
    sys.exit(bool(lost or status or counts["failed"] or counts["wrong"] or max(growth) > 10_000))


if __name__ == "__main__":
    main()
