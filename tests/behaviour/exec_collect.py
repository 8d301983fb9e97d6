"""watcher-exec drains what its program recorded, however the program and its processes end."""

import json
import os
import random
import signal
import time

from exec_support import ExecTest, main, read

WRITER = os.path.abspath(os.environ["RING_WRITER"])


class Collect(ExecTest):
    def stores(self, pid=None):
        """The values stored, in the order of the file; every line must be a whole one."""
        events = [json.loads(line) for line in read(os.path.join(self.output, "events.jsonl")).splitlines()]
        return [e["after"]["value"] for e in events if pid in (None, e["pid"])]

    def rings(self):
        return [name for name in os.listdir(self.output) if name.startswith("ring.")]

    def summary(self):
        return json.loads(read(os.path.join(self.output, "summary.json")))

    def test_everything_is_there_when_it_returns(self):
        result = self.run_exec(WRITER, "20000")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(self.stores(), list(range(1, 20001)))
        self.assertEqual(self.rings(), [])
        self.assertEqual((self.summary()["written"], self.summary()["exit_code"]), (20000, 0))

    def test_what_a_killed_program_announced_is_there(self):
        for attempt in range(20):
            self.output = self.path(f"out{attempt}")
            process = self.start("sh", "-c", f"echo $$; exec {WRITER} 10000000", bufsize=1 << 20)
            program = int(process.stdout.readline())
            process.stdout.readline()
            time.sleep(random.uniform(0, 0.05))
            os.kill(program, signal.SIGKILL)
            announced = process.stdout.read().split(b"\n")[-2:]
            self.assertEqual(process.wait(), -signal.SIGKILL)
            stored = self.stores()
            self.assertEqual(stored, list(range(1, len(stored) + 1)))
            self.assertGreaterEqual(len(stored), int(announced[0] or 0))
            self.assertEqual(self.rings(), [])
            self.assertEqual(self.summary()["signal"], signal.SIGKILL)

    def test_many_processes_of_one_run(self):
        result = self.run_exec("sh", "-c", f"for i in 1 2 3 4 5 6 7 8; do {WRITER} 2000 >/dev/null & done; wait")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        pids = {json.loads(line)["pid"] for line in read(os.path.join(self.output, "events.jsonl")).splitlines()}
        self.assertEqual(len(pids), 8)
        for pid in pids:
            self.assertEqual(self.stores(pid), list(range(1, 2001)))
        self.assertEqual(self.rings(), [])

    def test_a_process_that_outlives_the_program_keeps_its_ring(self):
        result = self.run_exec("sh", "-c", f"{WRITER} 500 linger > log 2>/dev/null & echo $!; sleep 0.5")
        orphan = int(result.stdout)
        self.addCleanup(os.kill, orphan, signal.SIGKILL)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(self.stores()[:500], list(range(1, 501)))
        self.assertEqual(self.rings(), [f"ring.{orphan}"])

    def test_an_orphan_that_never_falls_silent_does_not_hold_up_the_end_by_a_signal(self):
        started = time.monotonic()
        result = self.run_exec("sh", "-c", f"{WRITER} 10 linger > log 2>/dev/null & echo $!; kill -TERM $$")
        self.addCleanup(os.kill, int(result.stdout), signal.SIGKILL)
        self.assertEqual(result.returncode, -signal.SIGTERM)
        self.assertLess(time.monotonic() - started, 30)

    def test_the_next_run_recovers_what_nobody_collected(self):
        result = self.run_exec("--replace", WRITER, "300")
        self.assertEqual(result.returncode, 65, result)  # nobody has made the directory
        os.mkdir(self.output, 0o700)
        result = self.run_exec("--replace", WRITER, "300")
        self.assertEqual(result.returncode, 0, result)
        self.assertEqual(len(self.rings()), 1)
        self.assertEqual(self.run_exec("true").returncode, 0)
        self.assertEqual(self.stores(), list(range(1, 301)))
        self.assertEqual(self.rings(), [])

    def test_a_writer_blocked_by_a_full_ring_goes_on(self):
        process = self.start(WRITER, "100000")
        while process.stdout.readline() != b"10000\n":
            pass
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGCONT)
        process.stdout.read()
        self.assertEqual(process.wait(), 0)
        self.assertEqual(self.stores(), list(range(1, 100001)))


main()
