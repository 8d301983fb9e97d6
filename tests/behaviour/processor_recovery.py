"""What is on its way through processors when a run ends or its collector is killed: the next run takes it up."""

import collections
import json
import os
import signal
import subprocess
import time

import harness
from processors import COUNTING, EXEC, PYTHONS


class Recovery(harness.Case):
    def start(self, output, processor, events, *options):
        """The counting program, its first line of output awaited."""
        env = {key: text for key, text in os.environ.items() if not key.startswith("WATCHER_")}
        run = subprocess.Popen([EXEC, "--output", str(output), *options, "--custom-processor", str(self.directory / processor), "--",
                                PYTHONS[0], str(self.directory / "app.py"), str(events)], cwd=self.directory, env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(run.stdout.readline(), b"%d\n" % events)
        return run

    def test_the_program_never_waits_and_a_kill_loses_nothing(self):
        """The rings are drained at once into the spool; the next run takes up what a killed collector has left."""
        self.write({"app.py": COUNTING, "slow.py": "import time\ndef main(event):\n    time.sleep(0.02)\n    return 'pass'\n",
                    "quick.py": "def main(event):\n    return {'action': 'annotate', 'annotations': {'quick': True}}\n"})
        output = self.directory / "o"
        started = time.monotonic()
        first = self.start(output, "slow.py", 20000, "--max-queue-size", "1000")
        self.assertLess(time.monotonic() - started, 60)  # through the slow processor: 400 seconds
        time.sleep(1)
        first.kill()
        first.communicate()
        self.assertEqual(len(list(output.glob("spool.*"))), 1)
        before = len((output / "events.jsonl").read_text().splitlines())
        self.start(output, "quick.py", 1).communicate(timeout=100)
        events = [json.loads(line) for line in (output / "events.jsonl").read_text().splitlines()]
        summary = json.loads((output / "summary.json").read_text())
        failed = summary["processors"][0]["failed"]
        self.assertEqual(list(output.glob("spool.*")), [])
        self.assertEqual(summary["recovered"] + summary["written"], len(events) - before)
        # at the kill one slice may have been written and not yet noted; the slow one may have had a timeout
        self.assertGreaterEqual(len({event["event_id"] for event in events}) + failed + 2, 20001)
        self.assertTrue(all(event["annotations"] == {"quick": True} for event in events[before:]))

    def test_collectors_killed_at_any_moment_lose_nothing(self):
        """Also while they recover what another one has left. What is written twice has the same id and says the same."""
        self.write({"app.py": COUNTING, "odd.py": "def main(event):\n    value = event['after']['value']\n"
                    "    return 'drop' if value % 2 == 0 else {'action': 'annotate', 'annotations': {'odd': value}}\n"})
        for turn, delay in enumerate((0, 0.05, 0.1, 0.2, 0.3)):
            output = self.directory / f"o{turn}"
            first = self.start(output, "odd.py", 20000, "--processor-timeout-ms", "10000")
            time.sleep(delay)
            first.kill()
            first.communicate()
            second = self.start(output, "odd.py", 1, "--processor-timeout-ms", "10000")
            time.sleep(delay)
            second.kill()
            second.communicate()
            third = self.start(output, "odd.py", 1, "--processor-timeout-ms", "10000")
            third.communicate(timeout=100)
            self.assertEqual(third.returncode, 0)
            by_id, values = {}, collections.defaultdict(list)
            for line in (output / "events.jsonl").read_text().splitlines():
                event = json.loads(line)
                del event["timestamp_ns"]  # of nanoseconds each collector has its own idea
                if by_id.setdefault(event["event_id"], event) is event:
                    values[event["pid"]].append(event["after"]["value"])
                self.assertEqual(event, by_id[event["event_id"]])
                self.assertEqual(event["annotations"], {"odd": event["after"]["value"]})
            self.assertEqual(sorted(values.values()), [[1], [1], list(range(1, 20000, 2))])
            self.assertEqual([*output.glob("spool.*"), *output.glob("ring.*")], [])

    def test_what_does_not_get_through_stays_for_a_run_without_processors(self):
        self.write({"app.py": COUNTING, "slow.py": "import time\ndef main(event):\n    time.sleep(0.05)\n    return 'pass'\n"})
        output = self.directory / "o"
        run = self.start(output, "slow.py", 5000)
        self.assertEqual(run.stdout.read(), b"")
        time.sleep(1)  # the program has ended; watcher-exec waits for the processor
        run.send_signal(signal.SIGTERM)
        stderr = run.communicate(timeout=60)[1]
        self.assertEqual(run.returncode, 0)
        summary = json.loads((output / "summary.json").read_text())
        self.assertEqual(summary["written"] + summary["waiting"] + summary["processors"][0]["failed"], 5000)
        self.assertIn(b"events still wait for their processors", stderr)
        done = self.execute([EXEC, "--output", str(output), "--", PYTHONS[0], str(self.directory / "app.py"), "1"])
        self.assertEqual(done.returncode, 0)
        events = [json.loads(line) for line in (output / "events.jsonl").read_text().splitlines()]
        self.assertEqual(len({event["event_id"] for event in events}), len(events))
        self.assertEqual(len(events), 5001 - summary["processors"][0]["failed"])


if __name__ == "__main__":
    harness.main()
