"""The `watcher` tool: what it shows of a run, and how a running process is paused."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import time
import unittest

from exec_support import EXEC, PYTHON, clean_environment, main, until
from tool_support import LOOP, TOOL, Tool

SHIM = os.path.join(os.path.dirname(os.path.dirname(EXEC)), "preload", "libwatcher_preload.so")
# A terminal would obey these: colours, a bell, a new title, text from right to left, C1's CSI, and a line's end.
EVIL = "\x1b[31m\x07\x1b]0;title\x07\u202eevil\u2066\x9b1m\u2028\r\n\x7f"


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

    @unittest.skipUnless(shutil.which("fish"), "needs fish")
    def test_fish_completes(self):
        files = "; ".join("source " + self.generated(name) for name in ("watcher.fish", "watcher-exec.fish"))
        for words, expected in (("watcher st", {"stats", "status"}), ("watcher why out n --v", {"--value"}),
                                ("watcher-exec --engine h", {"hwbp"}), ("watcher-exec --user", {"--user-script"})):
            done = subprocess.run(["fish", "-N", "-c", f"{files}; complete -C '{words}'"], capture_output=True, text=True, cwd=self.directory)
            self.assertEqual({line.split("\t")[0] for line in done.stdout.splitlines()}, expected, done.stderr)

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
