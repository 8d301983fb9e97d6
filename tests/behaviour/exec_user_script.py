"""watcher-exec --user-script calls main() of a script, and ends with the guide's exit codes."""

import json
import os
import signal
import subprocess
import time

from exec_support import EXEC, ExecTest, PYTHON, clean_environment, main, read


class UserScript(ExecTest):
    def run_script(self, text, *arguments, name="app.py", options=(), **settings):
        self.write(name, text)
        return self.run_exec(*options, "--python", PYTHON, "--user-script", name, *arguments, **settings)

    def summary(self):
        return json.loads(read(os.path.join(self.output, "summary.json")))

    def events(self):
        return [json.loads(line) for line in read(os.path.join(self.output, "events.jsonl")).splitlines()]

    def assert_ended(self, result, status, code):
        self.assertEqual((result.returncode, self.summary()["exit_code"]), (status, code), result)

    def test_the_script_is_a_module_of_its_own(self):
        result = self.run_script("""
import os, sys
def main():
    print(__name__, sys.modules[__name__].main is main, os.path.basename(__file__))
    print(os.path.basename(sys.argv[0]), sys.argv[1:], os.path.samefile(sys.path[0], os.path.dirname(__file__)))
if __name__ == "__main__":
    main()
""", "--", "--flag", "one two", options=["--log-level", "ERROR"])
        self.assertEqual(result.stdout, b"app True app.py\napp.py ['--flag', 'one two'] True\n")
        self.assert_ended(result, 0, 0)
        self.assertEqual(sorted(os.listdir(self.directory)), ["app.py", "out"])  # no __pycache__
        self.assertEqual(sorted(os.listdir(self.output)), ["events.jsonl", "summary.json"])

    def test_locals_of_main_are_watched(self):
        self.write("watcher.toml", '[[watch]]\nfile = "app.py"\nlocal = ["total"]\n')
        result = self.run_script("def main():\n    total = 1\n    total += 2\n    return total\n")
        self.assert_ended(result, 0, 0)
        self.assertEqual([(e["line"], e["function"], e["after"]["value"]) for e in self.events()],
                         [(2, "main", 1), (3, "main", 3)])

    def test_main_gets_the_arguments_when_it_has_a_place_for_them(self):
        for signature, shown in (("args", "['a', 'b']"), ("args=None", "None"), ("*args", "()"), ("", "nothing")):
            name = signature.strip("*").partition("=")[0] or "'nothing'"
            with self.subTest(signature):
                result = self.run_script(f"def main({signature}):\n    print({name})\n", "a", "b")
                self.assertEqual(result.stdout.decode().strip(), shown)
                self.assert_ended(result, 0, 0)

    def test_what_is_wrong_with_a_script_is_2(self):
        for text, words in (("def main(a, b):\n    print('ran')\n", "(a, b)"), ("x = 1\n", "no function main"),
                            ("main = 3\n", "no function main"), ("def main(*, a):\n    pass\n", "(a)")):
            with self.subTest(text):
                result = self.run_script(text)
                self.assert_refused(result, 2, "app.py", words)
                self.assertEqual(self.summary()["exit_code"], 2)

    def test_what_can_be_seen_before_is_told_before(self):
        for options, words in ((["--user-script", "nonesuch.py"], "nonesuch.py"), (["--user-script", "/"], "no file"),
                               (["--user-script", EXEC], "neither Python"), (["--user-script"], "needs a value"),
                               (["--user-script", "app.py", "--python", "./nonesuch"], "the option python"),
                               (["--user-script", "app.py", "--engine", "x"], "engine")):
            with self.subTest(options):
                self.write("app.py", "def main():\n    print('ran')\n")
                self.assert_refused(self.run_exec(*options), 2, words)
                self.assertFalse(os.path.exists(self.output))

    def test_an_exception_is_402_with_pythons_own_traceback(self):
        text = "import sys\ndef main():\n    try:\n        1 / 0\n    except ZeroDivisionError:\n        raise KeyError('k')\n"
        result = self.run_script(text)
        self.assert_ended(result, 402 & 255, 402)
        self.write("plain.py", "import app\napp.main()\n")
        plain = subprocess.run([PYTHON, "-B", self.path("plain.py")], capture_output=True, cwd=self.directory)
        lines = plain.stderr.decode().splitlines(keepends=True)
        at = next(i for i, line in enumerate(lines) if "plain.py" in line)
        del lines[at:at + 2]  # the frame of the caller
        self.assertIn("KeyError", lines[-1])
        self.assertEqual(result.stderr.decode(), "".join(lines))
        gone = self.run_script(f"import shutil\ndef main():\n    shutil.rmtree({self.output!r})\n    raise KeyError('k')\n")
        self.assertIn(b"\nKeyError: 'k'\n", gone.stderr)
        self.assertNotIn(b"During handling", gone.stderr)
        for text in ("raise OSError('while it is loaded')\ndef main():\n    pass\n", "def main(:\n"):
            self.assert_ended(self.run_script(text), 146, 402)

    def test_sys_exit_keeps_its_meaning(self):
        for call, status, words in (("sys.exit(3)", 3, b""), ("sys.exit()", 0, b""), ("sys.exit('enough')", 1, b"enough\n"),
                                    ("sys.exit(146)", 146, b""), ("os._exit(9)", 9, b"")):
            with self.subTest(call):
                result = self.run_script(f"import os, sys\ndef main():\n    {call}\n")
                self.assertEqual(result.stderr, words)
                self.assert_ended(result, status, status)

    def test_replaced_it_ends_as_the_interpreter_does(self):
        os.mkdir(self.output, 0o700)
        result = self.run_script("def main():\n    raise KeyError('k')\n", options=["--replace"])
        self.assertEqual(result.returncode, 1)
        self.assertTrue(result.stderr.endswith(b"    raise KeyError('k')\nKeyError: 'k'\n"), result.stderr)
        self.assertEqual([name for name in os.listdir(self.output) if name.startswith("outcome")], [])

    def test_a_forked_childs_exception_is_its_own(self):
        result = self.run_script("import os\ndef main():\n    if os.fork() == 0:\n        raise ValueError\n    os.wait()\n")
        self.assert_ended(result, 0, 0)

    def test_coroutines_are_run(self):
        result = self.run_script("import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    print('awaited')\n")
        self.assertEqual(result.stdout, b"awaited\n")

    def test_a_script_named_by_the_configuration_gives_way_to_a_program(self):
        self.write("app.py", "def main():\n    print('script')\n")
        self.write("watcher.toml", 'user_script = "app.py"\n')
        self.assertEqual(self.run_exec().stdout, b"script\n")
        self.assertEqual(self.run_exec("echo", "program").stdout, b"program\n")
        nested = self.run_script(f"import subprocess\ndef main():\n    subprocess.run([{EXEC!r}, '--output', 'o', 'echo', 'x'])\n")
        self.assertEqual(nested.stdout, b"x\n")

    def test_disabled_the_script_runs_all_the_same(self):
        result = self.run_script("def main():\n    print('ran')\n", env=clean_environment(WATCHER_DISABLE="1"))
        self.assertEqual((result.returncode, result.stdout), (0, b"ran\n"))

    def test_javascript(self):
        for name, text in (("a.js", "module.exports = { main(args) { console.log(args, process.argv.length); } };\n"),
                           ("b.mjs", "export async function main(args) { console.log(args, process.argv.length); }\n"),
                           ("c.cjs", "exports.main = (args) => console.log(args, process.argv.length);\n")):
            with self.subTest(name):
                result = self.run_script(text, "x", name=name)
                self.assertEqual((result.stdout, result.stderr), (b"[ 'x' ] 3\n", b""))
                self.assert_ended(result, 0, 0)

    def test_javascript_that_fails(self):
        for text, status, code, words in (
                ("exports.main = () => { throw new Error('thrown'); };", 146, 402, b"thrown"),
                ("exports.main = async () => { throw new Error('rejected'); };", 146, 402, b"rejected"),
                ("throw new Error('loading');", 146, 402, b"loading"),
                ("exports.main = () => process.exit(7);", 7, 7, b""),
                ("exports.main = (a, b) => 0;", 2, 2, b"needs 2 arguments"),
                ("exports.other = () => 0;", 2, 2, b"no function main")):
            with self.subTest(text):
                result = self.run_script(text, name="app.js")
                self.assertIn(words, result.stderr)
                self.assert_ended(result, status, code)

    def interrupted(self, text, *signals):
        self.write("app.py", text)
        process = self.start("--python", PYTHON, "--user-script", "app.py")
        self.assertEqual(process.stdout.readline(), b"ready\n")
        for number in signals:
            process.send_signal(number)
            time.sleep(0.3)
        begun = time.monotonic()
        process.wait(30)
        return process, time.monotonic() - begun, process.stderr.read().decode()

    def test_a_signal_flushes_and_reports(self):
        text = """
import time
from watcher import watch
def main():
    count = watch(0, name="count")
    for i in range(5): count += 1
    print("ready", flush=True)
    time.sleep(60)
"""
        for number, shown in ((signal.SIGTERM, ""), (signal.SIGINT, "KeyboardInterrupt")):
            process, _, said = self.interrupted(text, number)
            self.assertEqual(process.returncode, -number, said)
            self.assertIn(shown, said)
            self.assertIn(f"watcher-exec: interrupted by {signal.Signals(number).name}: 5 events are written to "
                          f"{self.output}/events.jsonl, 0 are lost\n", said)
            self.assertEqual((self.summary()["signal"], self.summary()["exit_code"]), (number, 128 + number))
            os.unlink(os.path.join(self.output, "events.jsonl"))

    def test_a_second_signal_ends_at_once(self):
        text = """
import signal, time
def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    time.sleep(60)
"""
        process, seconds, said = self.interrupted(text, signal.SIGINT, signal.SIGTERM)
        self.assertLess(seconds, 10)
        self.assertEqual(process.returncode, -signal.SIGKILL, said)
        self.assertIn("interrupted by SIGINT", said)

    def test_events_that_cannot_be_written_are_400(self):
        result = self.run_script("import shutil\nfrom watcher import watch\ndef main():\n    x = watch(0, name='x')\n"
                                 f"    shutil.rmtree({self.output!r})\n    open({self.output!r}, 'w').close()\n    x = 1\n")
        self.assertEqual(result.returncode, 400 & 255, result)


if __name__ == "__main__":
    main()
