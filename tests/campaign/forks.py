#!/usr/bin/env python3
"""Bar 5: forks, vforks and spawns in a program with eight writing threads, under three allocators; and prefork servers.

    forks.py [--full] [--python PYTHON]     10,000 children an allocator instead of 90

No hang; parent and child never see each other's stores; the child keeps watching. Environment: WATCHER_BUILD.
"""

import argparse
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("WATCHER_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
SHIM = BUILD / "preload" / "libwatcher_preload.so"
WRITERS = BUILD / "tests" / "campaign" / "libcampaign_writers.so"
ALLOCATORS = {"glibc": None, "jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4"}

STORM = """import ctypes, os, subprocess, sys
from watcher import watch
writers = ctypes.CDLL(sys.argv[1])
rounds = int(sys.argv[2])
THREADS = 8

def start_writers():
    global threads_buf
    threads_buf = watch(bytearray(4096), name="threads_buf")
    at = ctypes.addressof(ctypes.c_char.from_buffer(threads_buf))
    assert writers.writers_start(ctypes.c_void_p(at), THREADS) == 0

def forked(i):
    child = os.fork()
    if child == 0:
        ok = bytes(buf[8:16]) == i.to_bytes(8, "little") and buf[0] == 1
        buf[0] = 2                 # the parent must not see it
        buf[16:24] = i.to_bytes(8, "little")
        ok = ok and buf[0] == 2
        os._exit(0 if ok else 9)
    buf[32:40] = i.to_bytes(8, "little")
    assert os.waitpid(child, 0)[1] == 0, "child %d" % i
    assert buf[0] == 1 and bytes(buf[16:24]) == bytes(8), "the child's store shows in the parent"

def main():
    global buf
    buf = watch(bytearray(64), name="buf")
    start_writers()
    buf[0] = 1
    for i in range(1, rounds + 1):
        buf[8:16] = i.to_bytes(8, "little")
        if i % 3 == 0:
            forked(i)
        elif i % 3 == 1:           # vfork
            assert subprocess.call(["/bin/true"]) == 0
        else:
            child = os.posix_spawn("/bin/true", ["true"], os.environ)
            assert os.waitpid(child, 0)[1] == 0
    writers.writers_stop(THREADS)
    print("done", rounds, buf[0], len(buf))

main()
"""

POOL = """import multiprocessing, sys, os
from watcher import watch

def work(i):
    worker_buf = watch(bytearray(32), name="worker_buf")
    worker_buf[i] = i + 1
    return worker_buf[i]

if __name__ == "__main__":
    parent_buf = watch(bytearray(8), name="parent_buf")
    parent_buf[0] = 1
    with multiprocessing.get_context(sys.argv[1]).Pool(3) as pool:
        print(sorted(pool.map(work, range(12))))
    parent_buf[1] = 2
    print(parent_buf.hex())
"""

APPLICATION = """import os
from watcher import watch
shared_buf = watch(bytearray(4096), name="shared_buf")   # in the master when it loads the application
count = 0

def application(environ, start_response):
    global count
    count += 1
    shared_buf[count % 4096] = count % 255 + 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d\\n" % shared_buf[count % 4096]]
"""

GEVENT = """import gevent, os
from gevent import monkey; monkey.patch_all()
import threading
from watcher import watch

def main():
    green_buf = watch(bytearray(64), name="green_buf")

    def write(i):
        for k in range(20):
            green_buf[i] = k + 1
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(write, i) for i in range(16)])
    child = gevent.os.fork()
    if child == 0:
        green_buf[63] = 7
        os._exit(0)
    print(gevent.os.waitpid(child, 0)[1], green_buf.hex())
main()
"""


class Failure(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Failure(text)


class Campaign:
    def __init__(self, python, directory, full):
        self.python, self.directory, self.full = python, directory, full

    def environment(self, output, allocator=None, **extra):
        env = {key: text for key, text in os.environ.items() if not key.startswith("WATCHER_")}
        env.update(LD_PRELOAD=" ".join(filter(None, [str(SHIM), allocator])), WATCHER_OUTPUT=str(output), PYTHONDONTWRITEBYTECODE="1")
        env.update(extra)
        return env

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return path

    def output(self, name):
        path = self.directory / ("out-" + name)
        path.mkdir(mode=0o700)
        return path

    def run(self, command, env, timeout):
        try:
            done = subprocess.run(command, cwd=self.directory, env=env, capture_output=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"hang: {' '.join(map(str, command))}") from None
        expect(done.returncode == 0, f"status {done.returncode}: {done.stderr.decode()[-800:]}")
        return done

    @staticmethod
    def events(output, name):
        """Of one variable, by process; waits for the collector to be done. A full run has gigabytes of others."""
        deadline = time.monotonic() + 60
        while glob.glob(str(output / "ring.*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        found = {}
        quoted = f'"{name}"'
        for line in (output / "events.jsonl").open():
            event = json.loads(line) if quoted in line else None
            if event is not None and event["variable_name"] == name:
                found.setdefault(event["pid"], []).append(event)
        return found

    @staticmethod
    def writing_threads(output, parent):
        threads = set()
        for line in (output / "events.jsonl").open():
            if '"threads_buf"' in line and re.search(rf'"pid":\s*{parent}\b', line):
                threads.add(re.search(r'"thread_id":\s*(\d+)', line)[1])
        return threads

    def storm(self, allocator, library, engine):
        rounds = 10_000 if self.full else 90
        output = self.output(f"{allocator}-{engine}")
        program = self.write("storm.py", STORM)
        start = time.monotonic()
        done = self.run([self.python, program, WRITERS, str(rounds)],
                        self.environment(output, library, WATCHER_ENGINE=engine), 60 + rounds)
        expect(done.stdout.decode() == f"done {rounds} 1 64\n", done.stdout.decode())
        expect(done.stderr == b"", done.stderr.decode()[-800:])
        by_process = self.events(output, "buf")
        parent = max(by_process, key=lambda pid: len(by_process[pid]))
        children = [pid for pid in by_process if pid != parent]
        # a slice of eight bytes is two stores of memcpy, of which the second changes nothing
        writes = [event for event in by_process[parent] if event["op"] == "write" and event["deltas"]]
        expect(len(writes) == 1 + rounds + rounds // 3, f"{len(writes)} of {1 + rounds + rounds // 3} writes of the parent, "
               f"{sum(event['op'] == 'kernel_write' for event in by_process[parent])} kernel writes")
        told = 0
        for child in children:  # the kernel's numbers for processes come round again
            offsets = [min(delta["offset"] for delta in event["deltas"]) // 8 * 8
                       for event in by_process[child] if event["deltas"]]
            expect(offsets == [0, 16] * (len(offsets) // 2), f"events of child {child} at {offsets}")
            told += len(offsets) // 2
        expect(told == rounds // 3, f"{told} of {rounds // 3} children have events")
        threads = self.writing_threads(output, parent)
        shutil.rmtree(output)
        expect(len(threads) == 8, f"{len(threads)} writing threads have events")
        return f"{rounds} children, {(time.monotonic() - start) / rounds * 1000:.1f} ms each"

    def pool(self, method):
        program = self.write("pool.py", POOL)
        output = self.output("pool-" + method)
        done = self.run([self.python, program, method], self.environment(output), 120)
        expect(done.stdout.decode() == f"{list(range(1, 13))}\n0102000000000000\n", done.stdout.decode())
        expect(done.stderr == b"", done.stderr.decode()[-800:])
        worked = self.events(output, "worker_buf")
        writes = sum(event["op"] == "write" for events in worked.values() for event in events)
        expect(writes == 12, f"{writes} events of the workers")
        return f"{len(worked)} workers"

    def gevent(self):
        done = subprocess.run([self.python, "-c", "import gevent"], capture_output=True)
        if done.returncode != 0:
            return None
        output = self.output("gevent")
        done = self.run([self.python, self.write("green.py", GEVENT)], self.environment(output), 60)
        expect(done.stdout.decode() == "0 " + "14" * 16 + "00" * 48 + "\n", done.stdout.decode())
        writes = sorted(sum(event["op"] == "write" for event in events) for events in self.events(output, "green_buf").values())
        expect(writes == [1, 320], f"events {writes}")
        return "16 greenlets and a fork"

    def server(self, name, command, port, library=None):
        if shutil.which(command[0]) is None:
            return None
        self.write("application.py", APPLICATION)
        output = self.output(name)
        requests = 2000 if self.full else 60
        server = subprocess.Popen(command, cwd=self.directory, env=self.environment(output, library), stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, start_new_session=True)  # a line each request
        try:
            self.ask(port, 1, deadline=time.monotonic() + 20)
            self.ask(port, requests - 1)
            time.sleep(1.5)  # gunicorn's gevent workers, watched or not, may miss a signal while they start
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
                raise Failure("hang at the end") from None
        writes = [sum(event["op"] == "write" for event in events) for events in self.events(output, "shared_buf").values()]
        expect(sum(writes) == requests, f"{writes} events for {requests} requests")
        return f"{requests} requests, {len([count for count in writes if count])} workers"

    @staticmethod
    def ask(port, count, deadline=None):
        for _ in range(count):
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port), 5) as connection:
                        connection.sendall(b"GET / HTTP/1.0\r\nHost: here\r\n\r\n")
                        answer = b""
                        while chunk := connection.recv(4096):
                            answer += chunk
                    expect(b"200 OK" in answer, f"answered {answer!r}")
                    break
                except OSError as error:
                    if deadline is None or time.monotonic() > deadline:
                        raise Failure(f"no answer: {error}") from None
                    time.sleep(0.1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def checks(campaign, engines):
    for engine in engines:
        for name, library in ALLOCATORS.items():
            yield f"storm {name} {engine}", lambda name=name, library=library, engine=engine: campaign.storm(name, library, engine)
    for method in ("fork", "spawn", "forkserver"):
        yield f"multiprocessing {method}", lambda method=method: campaign.pool(method)
    yield "gevent", campaign.gevent
    ports = [free_port() for _ in range(3)]
    yield "gunicorn", lambda: campaign.server(
        "gunicorn", ["gunicorn", "--preload", "-w", "3", "-b", f"127.0.0.1:{ports[0]}", "application"], ports[0])
    yield "gunicorn with gevent", lambda: campaign.server(
        "gunicorn-gevent", ["gunicorn", "-k", "gevent", "-w", "2", "-b", f"127.0.0.1:{ports[1]}", "application"], ports[1])
    yield "uWSGI", lambda: campaign.server(
        "uwsgi", ["uwsgi_python3", "--http-socket", f"127.0.0.1:{ports[2]}", "--master", "--processes", "3", "--need-app",
                  "--wsgi-file", "application.py"], ports[2],
        # Debian's loads the interpreter as a plugin, after the shim has looked for one; pip's links it
        next(iter(glob.glob("/usr/lib/*/libpython3.11.so.1.0")), None))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--short", action="store_true", help="the default")
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--engine", action="append", help="default: inline and uffd")
    parser.add_argument("--only", default="", help="checks whose name contains this")
    options = parser.parse_args()
    failures = 0
    directory = pathlib.Path(tempfile.mkdtemp(prefix="watcher-forks-"))
    try:
        campaign = Campaign(options.python, directory, options.full)
        for name, check in checks(campaign, options.engine or ["inline", "uffd"]):
            if options.only not in name:
                continue
            try:
                result = check()
                print(f"{name}: {'skipped, not installed' if result is None else result}", flush=True)
            except Failure as failure:
                failures += 1
                print(f"{name}: FAILED: {failure}", flush=True)
    finally:
        shutil.rmtree(directory, True)
    print("PASSED" if failures == 0 else f"FAILED: {failures}")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
