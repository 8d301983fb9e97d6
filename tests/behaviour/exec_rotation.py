"""events.jsonl is put aside by size, by a signal and by others, while a program writes as fast as it can."""

import json
import os
import signal
import subprocess
import time

import rotated
from exec_support import EXEC, ExecTest, clean_environment, main, read, until

WRITER = os.path.abspath(os.environ["RING_WRITER"])
COLLECTOR = os.path.join(os.path.dirname(EXEC), "watcher-collector")


class Rotation(ExecTest):
    def assert_all(self, count, others=()):
        stored = [event["after"]["value"] for event in rotated.events(self.output, others)]
        self.assertEqual(stored, list(range(1, count + 1)))

    def names(self):
        return [path.name for path in rotated.files(self.output)]

    def test_by_size_compressed(self):
        for packing, suffix in (("gzip", ".gz"), ("zstd", ".zst"), ("none", "")):
            self.output = self.path(packing)
            result = self.run_exec("--rotate-size", "200000", "--rotate-compress", packing, WRITER, "20000")
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertGreater(len(self.names()), 10)
            for path in rotated.files(self.output)[:-1]:
                self.assertTrue(path.name.endswith(".jsonl" + suffix), path.name)
                self.assertLessEqual(len(rotated.content(path)), 200000)
            self.assert_all(20000)

    def test_only_so_many_are_kept(self):
        result = self.run_exec("--rotate-size", "100000", "--rotate-keep", "2", WRITER, "20000")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(len(self.names()), 3)
        stored = [event["after"]["value"] for event in rotated.events(self.output)]
        self.assertEqual(stored, list(range(stored[0], 20001)))

    def test_by_a_signal_which_the_program_gets_too(self):
        process = self.start("sh", "-c", f"trap 'echo hangup >&2' HUP; {WRITER} 50000 & while ! wait $!; do :; done")
        for _ in range(3):
            time.sleep(0.1)
            os.kill(process.pid, signal.SIGHUP)
        _, told = process.communicate()
        self.assertEqual(process.returncode, 0)
        self.assertIn(b"hangup", told)
        self.assertGreaterEqual(len(self.names()), 2)
        self.assert_all(50000)

    def test_the_collector_of_a_preloaded_program(self):
        os.mkdir(self.output, 0o700)
        environment = clean_environment(WATCHER_OUTPUT=self.output, WATCHER_RUN_ID="abc")
        collector = subprocess.Popen([COLLECTOR, self.output], env=environment)
        self.addCleanup(collector.kill)
        until(lambda: os.path.exists(os.path.join(self.output, "events.jsonl")))
        writer = subprocess.Popen([WRITER, "400000"], env=environment, stdout=subprocess.DEVNULL)
        turns = 0
        while writer.poll() is None:
            time.sleep(0.05)
            collector.send_signal(signal.SIGHUP)
            turns += 1
        self.assertEqual(collector.wait(30), 0)
        self.assertGreater(turns, 1)
        self.assertGreaterEqual(len(self.names()), 2)
        self.assert_all(400000)

    def test_renamed_by_others(self):
        process = self.start(WRITER, "100000")
        moved = []
        os.set_blocking(process.stdout.fileno(), False)
        while process.poll() is None:
            time.sleep(0.02)
            process.stdout.read()
            try:
                os.rename(os.path.join(self.output, "events.jsonl"), self.path(f"moved.{len(moved)}"))
            except FileNotFoundError:
                continue
            moved.append(self.path(f"moved.{len(moved)}"))
        self.assertEqual(process.returncode, 0)
        self.assertGreater(len(moved), 3)
        self.assert_all(100000, moved)

    def test_the_summary_shows_a_run_under_way(self):
        process = self.start("sh", "-c", f"{WRITER} 1000 linger >/dev/null 2>&1 & echo $!; wait")
        writer = int(process.stdout.readline())
        summary = os.path.join(self.output, "summary.json")
        until(lambda: os.path.exists(summary))
        first = json.loads(read(summary))
        until(lambda: json.loads(read(summary))["events_written"] > first["events_written"])
        now = json.loads(read(summary))
        self.assertIsNone(now["exit_code"])
        self.assertGreater(now["events_written"], 1000)
        self.assertEqual(now["events_lost"], 0)
        self.assertEqual([v["name"] for v in now["variables"].values()], ["counter"])
        self.assertIn("buffered", now["processes"][0])
        os.kill(writer, signal.SIGKILL)
        self.assertEqual(process.wait(30), 0)


main()
