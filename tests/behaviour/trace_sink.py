"""The trace has what Chrome's trace event format requires, each event once, and can be read wherever it breaks off."""

import collections
import json
import os
import subprocess
import sys
import time

import rotated
from exec_support import ExecTest, main, read

WRITER = os.path.abspath(os.environ["RING_WRITER"])
PROGRAM = """\
import threading
total = 0
ratio = 0.5
title = ""
huge = 0
def work(n):
    global total, ratio, title, huge
    for i in range(n):
        total = total + 1
        ratio = ratio / 2 if ratio > 1e-9 else 0.5
        title = "x" * (i % 5)
    huge = 7 ** 1000
threads = [threading.Thread(target=work, args=(200,)) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


class Trace(ExecTest):
    def setUp(self):
        super().setUp()
        self.trace = self.path("trace.json")

    def options(self):
        return ("--trace-file", self.trace)

    def entries(self, text=None):
        """As the format's readers take it: the array's end may be missing, and a comma stand in front of it."""
        text = read(self.trace) if text is None else text
        if not text.endswith("]\n"):
            text = text[:text.rindex("\n")].rstrip(",\n") + "]"
        return json.loads(text)

    def check(self, entries):
        """The keys that the format requires; returns the changes."""
        depth, flows = collections.Counter(), set()
        for entry in entries:
            self.assertIn(entry["ph"], {"M", "B", "E", "C", "s", "t"})
            self.assertTrue(isinstance(entry.get("name", ""), str) and isinstance(entry["pid"], int) and isinstance(entry["tid"], int))
            if entry["ph"] != "M":
                self.assertGreaterEqual(entry["ts"], 0)
            if entry["ph"] in "BE":
                depth[entry["pid"], entry["tid"]] += 1 if entry["ph"] == "B" else -1
                self.assertIn(depth[entry["pid"], entry["tid"]], (0, 1))
            if entry["ph"] in "st":
                self.assertEqual((entry["cat"], entry["bp"]), ("variable", "e"))
                self.assertEqual(entry["ph"] == "t", entry["id"] in flows)
                flows.add(entry["id"])
            if entry["ph"] == "C":
                self.assertIsInstance(entry["args"]["value"], (int, float))
        return [entry for entry in entries if entry["ph"] == "B"]

    def assert_each_once(self, changes):
        ids = collections.Counter(change["args"]["event_id"] for change in changes)
        self.assertEqual(ids, collections.Counter(event["event_id"] for event in rotated.events(self.output)))

    def test_a_track_a_variable_a_counter_a_number_a_flow_a_thread(self):
        script = self.write("app.py", PROGRAM)
        config = self.write("w.toml", '[[watch]]\nfile = "app.py"\nglobal = ["total", "ratio", "title", "huge"]\n')
        result = self.run_exec(*self.options(), "--config", config, "--track-threads", sys.executable, script)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""))
        entries = json.loads(read(self.trace))
        changes = self.check(entries)
        self.assert_each_once(changes)
        events = {event["event_id"]: event for event in rotated.events(self.output)}
        tracks = {(e["pid"], e["tid"]): e["args"]["name"] for e in entries if e.get("name") == "thread_name"}
        self.assertEqual(sorted(tracks.values()), ["huge", "ratio", "title", "total"])
        start = int(entries[0]["args"]["start_ns"])
        for change in changes:
            event = events[change["args"]["event_id"]]
            self.assertEqual(tracks[change["pid"], change["tid"]], event["variable_name"])
            self.assertEqual(change["args"]["op"], event["op"])
            if event["variable_name"] == "total":
                self.assertEqual(change["name"], str(event["after"]["value"]))
            if event["variable_name"] != "huge":
                self.assertEqual(change["args"]["after"], event["after"])
            self.assertAlmostEqual(change["ts"] * 1000 + start, event["timestamp_ns"], delta=1000)
        counted = collections.Counter(entry["name"] for entry in entries if entry["ph"] == "C")
        stores = collections.Counter(event["variable_name"] for event in events.values())
        self.assertEqual({name: counted[name] for name in ("total", "ratio", "title")},
                         {"total": stores["total"], "ratio": stores["ratio"], "title": 0})
        flows = collections.Counter(entry["ph"] for entry in entries if entry["ph"] in "st")
        self.assertEqual(flows["s"], len({event["thread_id"] for event in events.values()}))
        self.assertEqual(sum(flows.values()), len(events))

    def test_killed_at_any_moment_and_gone_on_with(self):
        for turn in range(5):
            process = self.start(*self.options(), "--rotate-size", "300000", WRITER, "100000")
            process.stdout.readline()
            time.sleep(0.05 + 0.05 * turn)
            process.kill()
            process.communicate()
            if os.path.getsize(self.trace):
                self.check(self.entries())
        self.assertEqual(self.run_exec(*self.options(), WRITER, "10").returncode, 0)
        self.assert_each_once(self.check(json.loads(read(self.trace))))

    def test_a_second_run_goes_on_in_the_same_file(self):
        for _ in range(2):
            self.assertEqual(self.run_exec(*self.options(), WRITER, "100").returncode, 0)
        changes = self.check(json.loads(read(self.trace)))
        self.assertEqual(len(changes), 200)
        self.assert_each_once(changes)

    def test_processes_of_one_run(self):
        result = self.run_exec(*self.options(), "sh", "-c", f"for i in 1 2 3; do {WRITER} 500 >/dev/null & done; wait")
        self.assertEqual(result.returncode, 0)
        changes = self.check(json.loads(read(self.trace)))
        self.assert_each_once(changes)
        self.assertEqual(len({(change["pid"], change["tid"]) for change in changes}), 3)

    def test_a_file_that_is_no_trace_is_left_alone(self):
        self.write("trace.json", "precious")
        self.assert_refused(self.run_exec(*self.options(), "true"), 2, "trace_file", "trace.json")
        self.assertEqual(read(self.trace), "precious")
        os.remove(self.trace)
        os.symlink(self.path("elsewhere"), self.trace)
        self.assert_refused(self.run_exec(*self.options(), "true"), 2, "trace_file")

    def test_a_trace_that_finds_no_room_costs_no_event(self):
        result = self.run_exec("--trace-file", "/dev/full", WRITER, "10")
        self.assertEqual(result.returncode, 2)  # no regular file
        limit = f"ulimit -f 2000; exec {' '.join(self.command(*self.options(), '--rotate-size', '100000', WRITER, '20000'))}"
        result = subprocess.run(["sh", "-c", limit], capture_output=True, timeout=60, cwd=self.directory)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(len(rotated.events(self.output)), 20000)
        self.check(self.entries())
        sink = json.loads(read(os.path.join(self.output, "summary.json")))["sinks"]["trace"]
        self.assertIn("trace_file", sink["fault"])
        self.assertLess(sink["delivered"], 20000)


main()
