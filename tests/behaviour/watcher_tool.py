"""The `watcher` tool: what it shows of a run, and how a running process is paused."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from exec_support import EXEC, ExecTest, PYTHON, clean_environment, main, until

TOOL = os.path.join(os.path.dirname(EXEC), "watcher")
SHIM = os.path.join(os.path.dirname(os.path.dirname(EXEC)), "preload", "libwatcher_preload.so")
APP = """
from watcher import watch

def grow(state):
    state["n"] = 2

def main():
    state = watch({"n": 1}, name="state")
    grow(state)
    text = watch("a", name="text")
    text = "b"
    text = "c"
    text = "b"
"""
# A terminal would obey these: colours, a bell, a new title, text from right to left, C1's CSI, and a line's end.
EVIL = "\x1b[31m\x07\x1b]0;title\x07\u202eevil\u2066\x9b1m\u2028\r\n\x7f"
LOOP = """
import sys, time
from watcher import watch
count, numbers = watch(0, name="count"), watch(bytearray(8), name="numbers")
print("ready", flush=True)
while True:
    count += 1
    numbers[0] = count & 255
    time.sleep(0.002)
"""


class Tool(ExecTest):
    def tool(self, *arguments, status=0, **options):
        done = subprocess.run([TOOL, *arguments], capture_output=True, cwd=self.directory, timeout=120,
                              env=clean_environment(**options))
        self.assertEqual(done.returncode, status, done)
        self.said = done.stderr.decode()
        return done.stdout.decode()

    def record(self, text=APP):
        self.write("app.py", text)
        done = self.run_exec("--python", PYTHON, "--user-script", "app.py")
        self.assertEqual(done.returncode, 0, done)

    def events(self):
        return [json.loads(line) for line in pathlib.Path(self.output, "events.jsonl").read_text().splitlines()]


class Showing(Tool):
    def test_log_shows_one_line_a_change(self):
        self.record()
        lines = self.tool("log", "out").splitlines()
        self.assertEqual(len(lines), 4)
        stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"
        self.assertRegex(lines[0], rf"^{stamp}  state\['n'\] setitem  1 → 2  grow .*/app.py:5  \d+/\d+$")
        self.assertRegex(lines[1], rf"^{stamp}  text  'a' → 'b'  main .*/app.py:11  \d+/\d+$")

    def test_log_filters(self):
        self.record()
        for options, count in ((["--var", "text"], 3), (["--var", "t*", "--var", "state"], 4), (["--op", "setitem"], 1),
                               (["--file", "app.py"], 4), (["--file", "pp.py"], 0), (["--since", "1h"], 4), (["--sql"], 0),
                               (["--since", "2999-01-01"], 0), (["--since", str(int(time.time()) - 600)], 4),
                               (["--thread", "0"], 0), (["--thread", str(self.events()[0]["thread_id"])], 4)):
            with self.subTest(options):
                self.assertEqual(len(self.tool("log", "out", *options).splitlines()), count)
        self.assertEqual([json.loads(line) for line in self.tool("log", "out", "--json").splitlines()], self.events())
        self.tool("log", "out", "--since", "yesterday", status=2)
        self.assertIn("--since: 'yesterday' is no time", self.said)

    def test_log_by_sql(self):
        self.write("watcher.toml", "track_sql = true\n")
        self.record("import sqlite3\nfrom watcher import watch\ndef main():\n    c = sqlite3.connect(':memory:')\n"
                    "    n = watch(0, name='n')\n    n = 1\n    c.execute('select 1')\n    n = 2\n    c.execute('select 2')\n    n = 3\n")
        self.assertEqual(len(self.tool("log", "out", "--sql").splitlines()), 2)
        self.assertRegex(self.tool("log", "out", "--sql", "select 2"), r"^.*2 → 3.*sql: select 2\n$")

    def test_colours_are_for_terminals_and_by_request(self):
        self.record()
        self.assertNotIn("\x1b", self.tool("log", "out"))
        self.assertIn("\x1b[", self.tool("log", "out", "--color", "always"))

    def test_nothing_that_was_stored_reaches_the_terminal_raw(self):
        self.record(f"from watcher import watch\ndef main():\n    text = watch('', name='text')\n    text = {EVIL!r}\n"
                    f"    keys = watch({{}}, name='keys')\n    keys[{EVIL!r}] = 1\n    text = '\\udcff'\n")
        for arguments in (["log", "out"], ["why", "out", "text"], ["why", "out", "*"], ["stats", "out"]):
            shown = self.tool(*arguments)
            self.assertNotRegex(shown, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", arguments)
        self.assertEqual(len(self.tool("log", "out").splitlines()), 3)
        self.assertIn(r"\x1b[31m\x07\x1b]0;title\x07\u202eevil\u2066\x9b1m\u2028\r\n\x7f", self.tool("log", "out"))
        self.tool("why", "out", EVIL, status=1)
        self.assertNotIn("\x1b", self.said)

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

    def test_why(self):
        self.record()
        shown = self.tool("why", "out", "text")
        self.assertEqual(len(shown.splitlines()), 5)
        self.assertRegex(shown, r"^text \(local, .*/app.py\): 3 changes\n")
        self.assertRegex(shown, r"\nIt holds 'b', set last by main .*/app.py:13\.\n$")
        self.assertRegex(self.tool("why", "out", "text", "--value", "c"), r"Last set to 'c' by main .*/app.py:12:\n.*'b' → 'c'")
        self.assertRegex(self.tool("why", "out", "state", "--value", "2"), r"Last set to 2 by grow .*/app.py:5:")
        self.assertIn("It was never set to z.", self.tool("why", "out", "text", "--value", "z", status=1))
        self.tool("why", "out", "nonesuch", status=1)
        self.assertIn("no change of 'nonesuch' is recorded", self.said)
        second = [event for event in self.events() if event["variable_name"] == "text"][1]
        self.assertIn("At that time it held 'c', set by main", self.tool("why", "out", "text", "--at", str(second["timestamp_ns"])))
        self.assertEqual(self.tool("why", "out", second["variable_id"]), shown)
        self.assertIn("2 earlier ones", self.tool("why", "out", "text", "--lines", "1"))

    def test_stats(self):
        self.record()
        shown = self.tool("stats", "out")
        self.assertRegex(shown, r"\nwritten +4\nlost +0\nexit code +0\nprocesses +1\n  \d+ +CPython 3")
        self.assertRegex(shown, r"\n +3  [0-9a-f]{16}  text\n +1  [0-9a-f]{16}  state\n$")

    def test_wrong_usage_is_2(self):
        for arguments, words in (([], "subcommand"), (["log"], "directory"), (["log", "nonesuch"], "nonesuch"), (["lgo"], "did you mean 'log'?"),
                                 (["log", self.write("file", "")], "no directory"), (["log", self.directory], "output directory"),
                                 (["stats", self.directory], "summary.json"), (["recover", "nonesuch"], "no directory"),
                                 (["status", "x"], "x"), (["why", "out", "n", "--at", "1s", "--value", "2"], "--")):
            with self.subTest(arguments):
                self.assertEqual(self.tool(*arguments, status=2), "")
                self.assertIn(words, self.said)
                self.assertTrue(self.said.startswith("watcher: "), self.said)


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

    def delivered(self):
        """Ids, in the trace of which the array may be open."""
        text = pathlib.Path(self.directory, "trace.json").read_text().rstrip("\n").rstrip(",")
        entries = json.loads(text if text.endswith("]") else text + "]")
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


class Configuring(Tool):
    def test_check_names_file_line_and_column(self):
        for name, text, words in (("w.toml", "engine = 'auto'\n\noutputt = 'x'\n", "w.toml:3:1: there is no option 'outputt'; did you mean 'output'?"),
                                  ("w.toml", "engine = 3\n", "w.toml:1:10: "), ("w.toml", "[[watch]]\nfile = 'a.py'\nlocal = ['x y']\n", "w.toml:3:10: "),
                                  ("w.toml", "x = \n", "w.toml:1:"), ("scope.txt", "a.py:(x)\nb.py:(here:y)\n", "scope.txt:2:7: a scope is local"),
                                  ("scope.txt", "", "scope.txt:1:1: ")):
            with self.subTest(text):
                self.write(name, text)
                self.assertEqual(self.tool("config", "check", name, status=2), "")
                self.assertTrue(self.said.startswith("watcher: " + words), self.said)
        self.write("w.toml", "engine = 'inline'\n[[watch]]\nfile = 'a.py'\nlocal = ['x', 'y']\n")
        self.assertEqual(self.tool("config", "check", "w.toml"), "w.toml is right: options 1, files with rules 1, names 2\n")
        os.chmod(self.path("w.toml"), 0o666)
        self.tool("config", "check", "w.toml", status=2)
        self.tool("config", "check", "nonesuch.toml", status=2)
        self.assertIn("nonesuch.toml: No such file", self.said)

    def test_convert_goes_both_ways(self):
        self.write("scope.txt", "app.py:(local:counter,global:db_conn)\nlib/s.py:(obj)\n")
        toml = self.tool("config", "convert", "scope.txt")
        self.write("w.toml", toml)
        self.assertEqual(self.tool("config", "convert", "w.toml"), "app.py:(local:counter,global:db_conn)\nlib/s.py:(unknown:obj)\n")
        self.write("w.toml", "engine = 'inline'\n" + toml + "when = 'new > 1'\n")
        self.tool("config", "convert", "w.toml")
        self.assertIn("left out: engine", self.said)
        self.assertIn("left out: the conditions of 'obj'", self.said)

    def test_show_tells_where_a_value_comes_from(self):
        self.write("watcher.toml", "depth = 3\nengine = 'inline'\n[[watch]]\nfile = 'a.py'\nlocal = ['x']\n")
        shown = self.tool("config", "show", WATCHER_ENGINE="hwbp")
        self.assertRegex(shown, r"(?m)^depth = 3 +# ./watcher.toml$")
        self.assertRegex(shown, r"(?m)^engine = \"hwbp\" +# WATCHER_ENGINE$")
        self.assertRegex(shown, r"(?m)^fsync = \"batch\" +# default$")
        self.write("again.toml", shown)
        self.assertIn("names 1", self.tool("config", "check", "again.toml"))


class Doctor(Tool):
    def test_the_page_fits_and_names_what_was_tried(self):
        shown = self.tool("doctor", PATH=f"{os.path.dirname(PYTHON)}:/bin")
        self.assertLess(len(shown.splitlines()), 50)
        self.assertRegex(shown, r"ok +Linux .*x86_64")
        self.assertRegex(shown, r"ok +inline: works")
        self.assertRegex(shown, rf"ok +{PYTHON}: cpython 3")
        self.assertTrue(shown.endswith("\nWatcher works here.\n"), shown)
        self.assertEqual(sorted(os.listdir(self.directory)), [])

    def test_problems_come_with_a_fix(self):
        shown = self.tool("doctor", status=1, PATH=os.path.dirname(PYTHON), WATCHER_DISABLE="1")
        self.assertIn("PROBLEM  WATCHER_DISABLE=1 keeps every process out\n           → unset WATCHER_DISABLE\n", shown)
        self.write("watcher.toml", "engin = 'auto'\n")
        self.assertIn("watcher.toml:1:1: there is no option 'engin'", self.tool("doctor", status=1))


class Pausing(Tool):
    def children_of(self, pid):
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def check_pausing(self, program):
        until(lambda: len(self.events()) > 20)
        self.assertRegex(self.tool("status", str(program)), rf"^state running\npid {program}\n(.*\n)+output {self.output}\n$")
        self.assertIn("state paused", self.tool("pause", str(program)))
        self.assertIn("state paused", self.tool("status", str(program)))
        until(lambda: "waiting 0" in self.tool("status", str(program)))
        time.sleep(0.1)
        paused = len(self.events())
        time.sleep(0.4)
        self.assertEqual(len(self.events()), paused)
        last = [event for event in self.events() if event["variable_name"] == "count"][-1]["after"]["value"]
        self.assertIn("state running", self.tool("resume", str(program)))
        until(lambda: len(self.events()) > paused + 20)
        after = [event for event in self.events()[paused:] if event["variable_name"] == "count"]
        self.assertGreater(after[0]["before"]["value"], last + 20)  # the program went on meanwhile
        self.assertTrue(all(b["before"]["value"] == a["after"]["value"] for a, b in zip(after, after[1:])))
        numbers = [event for event in self.events()[paused:] if event["variable_name"] == "numbers"]
        self.assertEqual(numbers[0]["before"]["value"], (numbers[0]["after"]["value"] - 1) & 255)

    def test_a_program_of_watcher_exec(self):
        self.write("app.py", LOOP)
        process = self.start(PYTHON, "app.py")
        process.stdout.readline()
        self.check_pausing(self.children_of(process.pid)[0])
        process.terminate()
        process.wait(30)
        self.assertEqual(sorted(os.listdir(self.output)), ["events.jsonl", "summary.json"])
        self.assertEqual(json.loads(pathlib.Path(self.output, "summary.json").read_text())["dropped"], 0)

    def test_a_program_that_was_started_with_the_shim_alone(self):
        process = subprocess.Popen([PYTHON, self.write("app.py", LOOP)], stdout=subprocess.PIPE, cwd=self.directory,
                                   env=clean_environment(LD_PRELOAD=SHIM, WATCHER_OUTPUT=self.output))
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.stdout.readline()
        self.check_pausing(process.pid)

    def test_a_forked_child_stays_paused(self):
        self.write("app.py", "import os, time\nfrom watcher import watch\nn = watch(0, name='n')\nn = 1\nprint('ready', flush=True)\n"
                             "while not os.path.exists('go'):\n    time.sleep(0.01)\nn = 2\n"
                             "if os.fork() == 0:\n    n = 3\n    os._exit(0)\nos.wait()\nn = 4\n")
        process = self.start(PYTHON, "app.py")
        process.stdout.readline()
        program = str(self.children_of(process.pid)[0])
        self.tool("pause", program)
        self.write("go", "")
        self.assertEqual(process.wait(30), 0)
        self.assertEqual([event["after"]["value"] for event in self.events()], [1])

    def test_who_cannot_be_asked(self):
        self.tool("pause", str(os.getpid()), status=1)
        self.assertIn("is not recorded by Watcher", self.said)
        self.tool("status", "4194303", status=1)
        self.assertIn("there is no process 4194303", self.said)

    def test_the_socket_is_the_users_own(self):
        self.write("app.py", LOOP)
        process = self.start(PYTHON, "app.py")
        process.stdout.readline()
        path = os.path.join(self.output, f"control.{process.pid}")
        until(lambda: os.path.exists(path))
        self.assertEqual((os.stat(self.output).st_mode & 0o777, os.stat(path).st_mode & 0o777), (0o700, 0o600))
        if os.getuid() == 0:
            os.chmod(self.directory, 0o755)
            os.chmod(self.output, 0o755)
            os.chmod(path, 0o666)
            script = ("import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.connect(sys.argv[1])\n"
                      "try:\n    s.send(b'pause ' + sys.argv[2].encode())\n    print(s.recv(99))\nexcept OSError:\n    print(b'')\n")
            ring = f"ring.{self.children_of(process.pid)[0]}"
            asked = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", PYTHON, "-c", script, path, ring],
                                   capture_output=True, text=True, timeout=30)
            self.assertEqual(asked.stdout, "b''\n", asked.stderr)


class Documentation(Tool):
    """Generated beside the tool when it is built."""

    def generated(self, name):
        return os.path.join(os.path.dirname(TOOL), name)

    def complete(self, file, function, *words):
        script = f'source {self.generated(file)}; COMP_WORDS=({" ".join(words)} ""); COMP_CWORD={len(words)}; ' \
                 f'COMP_WORDS[{len(words) - 1}]="{words[-1]}"; ((COMP_CWORD--)); {function}; echo "${{COMPREPLY[@]}}"'
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()

    def test_bash_completes(self):
        self.assertEqual(self.complete("watcher.bash", "_watcher", "watcher", "st"), ["stats", "status"])
        self.assertEqual(self.complete("watcher.bash", "_watcher", "watcher", "config", "c"), ["check", "convert"])
        self.assertEqual(self.complete("watcher.bash", "_watcher", "watcher", "why", "out", "n", "--v"), ["--value"])
        self.assertEqual(self.complete("watcher-exec.bash", "_watcher_exec", "watcher-exec", "--engine", "h"), ["hwbp"])
        self.assertEqual(self.complete("watcher-exec.bash", "_watcher_exec", "watcher-exec", "--user"), ["--user-script"])

    def test_other_shells_take_theirs(self):
        for shell, names in (("zsh", ["_watcher", "_watcher-exec"]), ("fish", ["watcher.fish", "watcher-exec.fish"])):
            for name in names:
                text = pathlib.Path(self.generated(name)).read_text()
                self.assertIn("mutation-depth" if "exec" in name else "Wait for more", text)
                if shutil.which(shell):
                    subprocess.run([shell, "-n", self.generated(name)], check=True)

    def test_manual_pages_hold_every_option(self):
        help_text = subprocess.run([EXEC, "--help"], capture_output=True, text=True).stdout
        options = set(re.findall(r"--[a-z][a-z-]+", help_text))
        self.assertGreater(len(options), 20)
        page = pathlib.Path(self.generated("watcher-exec.1")).read_text().replace("\\-", "-")
        self.assertEqual({option for option in options if option not in page}, set())
        if shutil.which("groff"):
            for name in ("watcher-exec.1", "watcher.1"):
                done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-Kutf8", self.generated(name)], capture_output=True, text=True)
                self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    main()
