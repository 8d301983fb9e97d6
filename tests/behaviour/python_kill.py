"""SIGKILL in the middle of a loop of stores: every store the program had announced is in the file, and no line is broken."""

import json
import os
import random
import signal
import subprocess
import time

import harness

PROGRAM = """\
import os, sys
def main():
    buffer = bytearray(8)
    word = memoryview(buffer).cast("q")  # one store each time; pack_into would clear first
    counter = 0
    out = sys.stdout.fileno()
    os.write(out, b"%d\\n" % os.getpid())
    for i in range(1, 100001):
        counter = i
        if i % 16 == 0:
            word[0] = i
        os.write(out, b"%d\\n" % i)
main()
"""
RULES = '[[watch]]\nfile = "loop.py"\nlocal = ["counter", "buffer"]\n'


class Killed(harness.Case):
    settings = {"WATCHER_FIRST_BINDINGS": "skip"}

    def run_and_kill(self, user, preload):
        """Returns the last announced counter, and the events."""
        program = self.write({"loop.py": PROGRAM})
        (self.directory / "rules.toml").write_text(RULES)
        output = self.directory / "out"
        harness.shutil.rmtree(output, True)
        output.mkdir(0o755)
        environment = {key: text for key, text in os.environ.items() if not key.startswith("WATCHER_")}
        environment.update(self.settings)
        command = ["/usr/bin/python3", str(program)]
        if preload:
            environment.update(LD_PRELOAD=str(harness.BUILD / "preload/libwatcher_preload.so"), WATCHER_OUTPUT=str(output),
                               WATCHER_CONFIG=str(self.directory / "rules.toml"))
        else:
            command = [str(harness.BUILD / "tools/watcher-exec"), "--output", str(output), "--config",
                       str(self.directory / "rules.toml"), "--", *command]
        if user is not None:
            os.chown(output, user, user)
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=self.directory, env=environment)
        pid = int(child.stdout.readline())
        deadline = time.monotonic() + random.uniform(0.002, 0.15)
        announced = 0
        while time.monotonic() < deadline:
            line = child.stdout.readline()
            if not line:
                break
            announced = int(line)
        os.kill(pid, signal.SIGKILL)
        rest = child.stdout.read().split(b"\n")
        announced = max([announced] + [int(line) for line in rest[:-1] if line])
        status = child.wait(60)
        child.stdout.close()
        if preload:  # nobody waits for the collector: it ends by itself
            wait_until(lambda: not list(output.glob("ring.*")))
        self.assertIn(status, (-signal.SIGKILL, 0))
        self.assertEqual(list(output.glob("ring.*")), [])
        text = (output / "events.jsonl").read_bytes()
        self.assertTrue(text.endswith(b"\n") or not text)
        return announced, [json.loads(line) for line in text.splitlines()]

    def check(self, user=None, preload=False, times=20):
        most = 0
        for _ in range(times):
            announced, events = self.run_and_kill(user, preload)
            counters = [event["after"]["value"] for event in events if event["op"] == "store"]
            self.assertEqual(counters, list(range(1, len(counters) + 1)))
            self.assertGreaterEqual(len(counters), announced)
            buffer = bytearray(8)
            for event in events:
                if event["op"] != "write":
                    continue
                for delta in event["deltas"]:
                    self.assertEqual(buffer[delta["offset"]], int(delta["before"], 16))
                    buffer[delta["offset"]] = int(delta["after"], 16)
            self.assertGreaterEqual(int.from_bytes(buffer, "little"), announced // 16 * 16)
            most = max(most, announced)
        self.assertGreater(most, 100, "the kills came too early to say anything")

    def test_twenty_times_under_watcher_exec(self):
        self.check()

    def test_as_an_unprivileged_user(self):
        if os.getuid() != 0 or not harness.readable_by_others("/usr/bin/python3"):
            self.skipTest("cannot become another user here")
        self.check(user=harness.NOBODY)

    def test_with_the_shim_alone(self):
        self.check(preload=True, times=10)


class CollectorKilled(harness.Case):
    settings = {"WATCHER_FIRST_BINDINGS": "skip"}

    PROGRAM = """\
import os, signal
def main():
    n = 0
    for i in range(1, 200001):
        n = i
        if i == 100000:
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    command = open(f"/proc/{pid}/cmdline").read()
                except OSError:
                    continue
                if os.path.basename(command.split("\\0")[0]) == "watcher-collector" and os.environ["WATCHER_OUTPUT"] in command:
                    os.kill(int(pid), signal.SIGKILL)
                    print("killed")
main()
"""

    def test_another_one_goes_on_where_it_was(self):
        program = self.write({"loop.py": self.PROGRAM})
        run = self.watched("/usr/bin/python3", program, config='[[watch]]\nfile = "loop.py"\nlocal = ["n"]\n', preload=True)
        self.assertEqual(run.stdout, b"killed\n", run.stderr)
        # lines that were written but not yet released are written again, under the same id
        events = {event["event_id"]: event["after"]["value"] for event in run.events}
        self.assertEqual(list(events.values()), list(range(1, 200001)))


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


if __name__ == "__main__":
    harness.main()
