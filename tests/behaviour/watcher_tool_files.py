"""The `watcher` tool and the files of a run: rotated, compressed, damaged, and what a killed run has left."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

from exec_support import PYTHON, main, until
from tool_support import LOOP, TOOL, Tool


class Files(Tool):
    def test_log_follows_also_into_the_next_file(self):
        self.record()
        process = subprocess.Popen([TOOL, "log", "-f", self.output], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        for _ in range(4):
            process.stdout.readline()
        path = pathlib.Path(self.output, "events.jsonl")
        line = path.read_text().splitlines()[-1]
        with path.open("a") as file:
            file.write(line[:40])
            file.flush()
            time.sleep(0.2)
            file.write(line[40:] + "\n")
        self.assertIn("text", process.stdout.readline())
        path.rename(path.with_name("events-000001.jsonl"))
        path.write_text(line.replace('"text"', '"newer"') + "\n")
        self.assertIn("newer", process.stdout.readline())

    def put_aside(self, number, lines, packer=None):
        path = pathlib.Path(self.output, f"events-{number:06}.jsonl")
        path.write_text("".join(lines))
        if packer:
            subprocess.run([packer, "-q", path], check=True)
            if packer == "zstd":
                path.unlink()

    def test_files_put_aside_are_read_in_the_order_of_their_numbers(self):
        self.record()
        path = pathlib.Path(self.output, "events.jsonl")
        lines = path.read_text().splitlines(keepends=True)
        self.put_aside(2, lines[:1], "gzip")
        self.put_aside(999999, lines[1:2], "zstd")
        self.put_aside(1000000, lines[2:3])
        path.write_text(lines[3])
        self.write("out/events-old.jsonl", lines[0])
        self.assertEqual(self.tool("log", "out", "--json", PATH=""), "".join(lines))
        self.assertIn("): 3 changes\n", self.tool("why", "out", "text"))
        self.assertRegex(self.tool("stats", "out"), r"\nfiles +3 put aside, 2 of them compressed\n")
        self.put_aside(2, lines[:1])  # its collector was killed before it took the original away
        self.assertEqual(self.tool("log", "out", "--json"), "".join(lines))
        path.unlink()
        self.assertEqual(self.tool("log", "out", "--json"), "".join(lines[:3]))
        pathlib.Path(self.output, "summary.json").unlink()
        self.assertRegex(self.tool("stats", "out"), r"^no summary; counted in the files:\nwritten +3\n(.*\n)+ +2  \w+  text\n")

    def test_a_damaged_file_is_named(self):
        self.record()
        for packer, suffix in (("gzip", ".gz"), ("zstd", ".zst")):
            self.put_aside(1, ["{}\n"] * 999, packer)
            path = pathlib.Path(self.output, f"events-000001.jsonl{suffix}")
            whole = path.read_bytes()
            for content, words in ((whole[:-3], "ends too early"), (b"none" + whole[4:], "damaged")):
                path.write_bytes(content)
                self.tool("log", "out", status=2)
                self.assertRegex(self.said, rf"cannot read out/{path.name}: .*{words}")
            path.write_bytes(whole + whole)
            self.assertEqual(len(self.tool("log", "out").splitlines()), 4)
            path.unlink()

    def test_log_follows_a_run_whose_files_are_rotated_and_compressed(self):
        self.write("app.py", "import time\nfrom watcher import watch\n\ndef main():\n    n = watch(0, name='n')\n"
                             "    for i in range(3000):\n        n += 1\n        time.sleep(0.0005)\n")
        os.mkdir(self.output)
        follower = subprocess.Popen([TOOL, "log", "-f", self.output, "--json"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(follower.stdout.close)
        self.addCleanup(follower.wait)
        self.addCleanup(follower.kill)
        done = self.run_exec("--set", "rotate_size=50000", "--set", "rotate_compress=gzip", "--python", PYTHON, "--user-script", "app.py")
        self.assertEqual(done.returncode, 0, done)
        self.assertGreater(len([name for name in os.listdir(self.output) if name.endswith(".gz")]), 5)
        followed = [json.loads(follower.stdout.readline())["after"]["value"] for _ in range(3000)]
        self.assertEqual(followed, list(range(1, 3001)))
        shown = [json.loads(line)["after"]["value"] for line in self.tool("log", "out", "--json").splitlines()]
        self.assertEqual(shown, followed)


class Recovering(Tool):
    def test_what_a_killed_run_left_is_written_down(self):
        self.write("app.py", LOOP)
        process = self.start(PYTHON, "app.py")
        process.stdout.readline()
        program = int(pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        os.kill(process.pid, signal.SIGSTOP)  # the collector takes nothing any more
        before = len(self.events())
        time.sleep(0.3)
        os.kill(program, signal.SIGKILL)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        shown = self.tool("recover", "out")
        found = int(re.match(r"(\d+) events of 1 processes recovered\n", shown).group(1))
        self.assertGreater(found, 10)
        counts = [event["after"]["value"] for event in self.events() if event["variable_name"] == "count"]
        self.assertEqual(counts, list(range(1, len(counts) + 1)))
        self.assertGreaterEqual(len(self.events()), before + found - 1)
        self.assertEqual([name for name in os.listdir(self.output) if name.startswith("ring")], [])
        self.assertEqual(self.tool("recover", "out"), "nothing to recover in out\n")

    def test_what_waited_for_processors_is_written_down(self):
        self.write("app.py", LOOP)
        self.write("slow.py", "import time\ndef main(event):\n    time.sleep(0.05)\n    return 'pass'\n")
        process = self.start("--custom-processor", self.path("slow.py"), PYTHON, "app.py")
        process.stdout.readline()
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        program = next(int(pid) for pid in children if "app.py" in pathlib.Path(f"/proc/{pid}/cmdline").read_text())
        time.sleep(0.5)
        os.kill(program, signal.SIGKILL)
        until(lambda: not [name for name in os.listdir(self.output) if name.startswith("ring")])
        process.kill()
        process.wait()
        self.assertGreater(int(re.match(r"(\d+) events recovered", self.tool("recover", "out")).group(1)), 10)
        counts = [event["after"]["value"] for event in self.events() if event["variable_name"] == "count"]
        self.assertEqual(list(dict.fromkeys(counts)), list(range(1, len(set(counts)) + 1)))
        self.assertEqual([name for name in os.listdir(self.output) if name.startswith("spool")], [])

    def delivered(self):
        """Ids, in the trace of which the array may be open."""
        text = pathlib.Path(self.directory, "trace.json").read_text().rstrip("\n").rstrip(",")
        entries = json.loads(text if text.endswith("]") else text + "]") if text else []  # stopped before the first was written
        return [entry["args"]["event_id"] for entry in entries if entry["ph"] == "B"]

    def kill_run(self):
        """The program and its collector; some events are in the queue, some in the files and not delivered."""
        self.write("app.py", LOOP)
        process = self.start("--trace-file", self.path("trace.json"), "--rotate-size", "20000", PYTHON, "app.py")
        process.stdout.readline()
        program = int(pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        until(lambda: os.path.exists(os.path.join(self.output, "events-000002.jsonl")))
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(program, signal.SIGKILL)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def recorded(self):
        return [json.loads(line)["event_id"] for line in self.tool("log", "out", "--json").splitlines()]

    def test_sinks_get_what_waits_for_them(self):
        self.kill_run()
        self.write("watcher.toml", "trace_file = 'trace.json'\nrotate_size = 20000\n")
        shown = self.tool("recover", "out")
        self.assertRegex(shown, r"^\d{2,} events of 1 processes recovered\ntrace: \d{2,} events delivered\n$")
        self.assertEqual(set(self.delivered()), set(self.recorded()))
        self.assertEqual(self.tool("recover", "out"), "nothing to recover in out\ntrace: 0 events delivered\n")
        self.assertEqual(set(self.delivered()), set(self.recorded()))

    def test_sinks_get_what_only_they_have_missed(self):
        self.kill_run()
        self.tool("recover", "out")  # no sink is named
        missed = set(self.recorded()) - set(self.delivered())
        self.assertGreater(len(missed), 10)
        self.write("watcher.toml", "trace_file = 'trace.json'\n")
        shown = self.tool("recover", "out")
        count = int(re.match(r"nothing to recover in out\ntrace: (\d+) events delivered\n$", shown).group(1))
        self.assertGreaterEqual(count, len(missed))  # those told by a position that was not written come again
        self.assertEqual(set(self.delivered()), set(self.recorded()))

    def test_a_sink_that_cannot_be_had_costs_no_event(self):
        self.kill_run()
        self.write("precious", "no trace")
        before = len(self.recorded())
        self.tool("recover", "out", WATCHER_TRACE_FILE=self.path("precious"))
        self.assertIn("trace_file", self.said)
        self.assertGreater(len(self.recorded()), before)
        self.assertEqual(pathlib.Path(self.directory, "precious").read_text(), "no trace")


if __name__ == "__main__":
    main()
