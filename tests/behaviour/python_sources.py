"""Where code comes from: -c, standard input, prompts, cells, exec(), archives, .pyc files; and globals changed from elsewhere."""

import os
import pty
import re
import select
import subprocess
import time
import zipfile

import harness
from harness import changes

USERS = (None, harness.NOBODY)
EVERYWHERE = '[[watch]]\nfile = "<*>"\nboth = ["v"]\n'
COUNT = [("store", None, 1), ("store", 1, 2)]


def at_least(version, minor):
    return int(version.split(".")[1]) >= minor


def places(run):
    return [(event["file"] and os.path.basename(event["file"]), event["line"], event["function"]) for event in run.events]


class Case(harness.Case):
    """A program is given by arguments and standard input."""

    def rules(self, text=EVERYWHERE):
        self.write({"rules.toml": text})

    def both(self, python, arguments, stdin="", user=None, environment=None, piped=True):
        """Plainly and watched; the host's side must be the same."""
        output = self.directory / "out"
        harness.shutil.rmtree(output, True)
        output.mkdir()
        if user is not None:
            os.chown(output, user, user)
        stub = self.directory / "stub"
        stub.mkdir(exist_ok=True)
        (stub / "watcher.py").write_text(harness.STUB)
        (self.directory / "stdin").write_text(stdin)

        def execute(command, extra):
            extra = {"PYTHON_HISTORY": os.devnull, "HOME": str(self.directory), **(environment or {}), **extra}
            if piped:
                return self.execute(command, extra, user, input=stdin.encode())
            with open(self.directory / "stdin", "rb") as file:
                return self.execute(command, extra, user, stdin=file)

        command = [python, "-B", *arguments]
        plain = harness.Run(execute(command, {"PYTHONPATH": str(stub), **(environment or {})}))
        launcher = [str(harness.BUILD / "tools" / "watcher-exec"), "--output", str(output), "--config", "rules.toml", "--"]
        watched = harness.Run(execute(launcher + command, {}), output)
        self.assert_same_host(plain, watched)
        return watched

    def on_each(self, arguments, stdin, expected, where=None, users=(None,), **settings):
        for version, python in harness.INTERPRETERS:
            for user in users:
                if user is not None and (os.getuid() != 0 or not harness.readable_by_others(python)):
                    continue
                with self.subTest(python=python, user=user):
                    run = self.both(python, arguments, stdin, user, **settings)
                    self.assertEqual(changes(run.events), expected)
                    if where is not None:
                        self.assertEqual(places(run), where)


class Sources(Case):
    def test_a_command(self):
        self.rules()
        self.on_each(["-c", "v = 1\ndef f():\n    global v\n    v = 2\nf()"], "", COUNT, [("<string>", 1, "<module>"), ("<string>", 4, "f")], USERS)

    def test_a_command_that_calls_watch(self):
        self.rules("")
        self.on_each(["-c", "from watcher import watch\nn = watch(1)\nn = 2"], "", [("store", 1, 2)])

    def test_a_program_piped_in(self):
        self.rules()
        program = "# -*- coding: utf-8 -*-\nv = 1\nimport sys\nprint(repr(sys.stdin.read()), 'h\u00e9')\n" + "# filler\n" * 3000 + "v = 2\n"
        where = [("<stdin>", 2, "<module>"), ("<stdin>", 3005, "<module>")]
        self.on_each(["-"], program, COUNT, where, USERS)
        self.on_each([], program, COUNT, where)
        self.on_each(["-u"], program, COUNT, where)
        self.on_each(["-"], program, COUNT, where, piped=False)

    def test_a_program_on_standard_input_with_an_encoding(self):
        self.rules()
        self.on_each(["-"], "# coding: latin-1\nv = 1\nv = 2\nprint(input())\n", COUNT, piped=False)

    def test_a_piped_program_with_an_error(self):
        self.rules()
        self.on_each(["-"], "v = 1\nv = = 2\n", [])
        self.on_each(["-"], "v = 1\nv = 2\nraise SystemExit(7)\n", COUNT)

    def test_the_prompt_without_a_terminal(self):
        self.rules()
        typed = "v = 1\nv\nfor v in (2, 3):\n    v\n\ndef f(v):\n    v += 1\n    return v\n\nf(10)\n1 / 0\nv = 'end'\n"
        self.on_each(["-i"], typed, [("store", None, 1), ("store", 1, 2), ("store", 2, 3), ("store", None, 10), ("store", 10, 11), ("store", 3, "end")])

    def test_watch_at_the_prompt(self):
        self.rules("")
        self.on_each(["-i"], "from watcher import watch\nx = watch([1])\nx.append(2)\ny = 0\nx.append(3)\nx = 5\n",
                     [("append", None, 2), ("append", None, 3), ("store", "[1, 2, 3]", 5)])

    def test_code_interact_and_exec_and_eval(self):
        self.rules()
        self.on_each(["-c", "import code; code.interact()"], "v = 1\nv\nfor v in (2,):\n    v\n\n", COUNT)
        self.on_each(["-c", "exec('v = 1'); exec(compile('v = 2', '<made>', 'exec'))"], "", COUNT, [("<string>", 1, "<module>"), ("<made>", 1, "<module>")])
        command = "exec('v = 1'); print(eval('v + (w := 1)'), eval('(v := 2)'), eval('v'))\nns = {}\nexec('def f(v): return v', ns)\nns['f'](3)"
        self.on_each(["-c", command], "", COUNT + [("store", None, 3)])

    def test_archives_and_runpy(self):
        self.rules('[[watch]]\nfile = "__main__.py"\nglobal = ["v"]\n[[watch]]\nfile = "inside.py"\nglobal = ["v"]\n')
        with zipfile.ZipFile(self.directory / "app.pyz", "w") as archive:
            archive.writestr("__main__.py", "v = 1\nv = 2\nimport inside, importlib, runpy\nimportlib.reload(inside)\nrunpy.run_module('inside')\n")
            archive.writestr("inside.py", "v = 1\nv = 2\n")
        self.on_each(["app.pyz"], "", COUNT + COUNT + [("store", 2, 1), ("store", 1, 2)] + COUNT)
        self.on_each(["-m", "inside"], "", COUNT, environment={"PYTHONPATH": "app.pyz"})

    def compile(self, python, source, target, name):
        program = f"import py_compile; py_compile.compile({source!r}, {target!r}, dfile={name!r}, doraise=True)"
        self.assertEqual(self.execute([python, "-c", program]).returncode, 0)

    def test_a_compiled_file_as_the_script(self):
        self.write({"app.py": "v = 1\ndef f(v):\n    v = 2\nf(0)\n"})
        self.rules('[[watch]]\nfile = "app.py"\nboth = ["v"]\n')
        for version, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                self.compile(python, "app.py", "app.pyc", "app.py")
                run = self.both(python, ["app.pyc"])
                self.assertEqual(changes(run.events), [("store", None, 1), ("store", None, 0), ("store", 0, 2)])

    def test_a_script_whose_first_line_is_skipped(self):
        self.rules('[[watch]]\nfile = "batch.py"\nglobal = ["v"]\n')
        self.write({"batch.py": "@echo this is no Python\nv = 1\nv += 1\nprint(v)\n"})
        for options in (["-x"], ["-X", "utf8", "-Bx"]):
            self.on_each([*options, "batch.py"], "", COUNT, [("batch.py", 2, "<module>"), ("batch.py", 3, "<module>")])

    def test_modules_without_source(self):
        self.write({"lone.py": "v = 1\ndef f():\n    global v\n    v = 2\nf()\n"})
        self.rules('[[watch]]\nfile = "lone.py"\nglobal = ["v"]\n')
        source = self.directory / "lone.py"
        for version, python in harness.INTERPRETERS:
            self.compile(python, "lone.py", "lone.pyc", "lone.py")
            source.rename(self.directory / "away")
            for arguments in (["lone.pyc"], ["-c", "import lone"]):
                with self.subTest(python=python, arguments=arguments):
                    if at_least(version, 12):
                        self.assertEqual(changes(self.both(python, arguments).events), COUNT)
                        continue
                    command = [str(harness.BUILD / "tools" / "watcher-exec"), "--output", "no", "--config", "rules.toml", "--", python, *arguments]
                    done = self.execute(command)
                    self.assertIn(b"lone.py has no source", done.stderr)  # said, and nothing else changes
                    self.assertEqual((done.returncode, done.stdout), (0, b""))
            (self.directory / "away").rename(source)


class Prompts(Case):
    """At a terminal."""

    def type(self, command, lines, end=b"\x04"):
        """What is shown, without colours; each line is typed at a prompt."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.directory)
            env = {k: t for k, t in os.environ.items() if not k.startswith("WATCHER_")}
            env.update(TERM="xterm", PYTHON_HISTORY=os.devnull, HOME=str(self.directory), PYTHON_COLORS="0")
            os.execvpe(command[0], command, env)
        shown = b""

        def read_until(prompts, seconds=30):
            nonlocal shown
            start, deadline = len(shown), time.monotonic() + seconds
            while time.monotonic() < deadline:
                if select.select([terminal], [], [], 0.3)[0]:
                    try:
                        got = os.read(terminal, 65536)
                    except OSError:
                        return False
                    if not got:
                        return False
                    shown += got
                elif any(prompt in shown[start:] for prompt in prompts):
                    return True
            return False

        read_until([b">>> ", b"In ["])
        for line in lines:
            os.write(terminal, line.encode() + b"\n")
            read_until([b">>> ", b"... ", b"In [", b"...:"])
        os.write(terminal, end)
        read_until([], 10)
        os.close(terminal)
        status = os.waitpid(pid, 0)[1]
        return shown.decode(errors="replace"), status

    def test_the_interactive_prompt(self):
        self.rules()
        typed = ["v = 1", "v", "for v in (2, 3):", "    print(v * 111)", "", "v = 'end'"]
        for version, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                output = self.directory / "out"
                harness.shutil.rmtree(output, True)
                launcher = [str(harness.BUILD / "tools" / "watcher-exec"), "--output", str(output), "--config", "rules.toml", "--"]
                plain = self.type([python], typed)
                shown, status = self.type(launcher + [python], typed)
                words = re.compile(r"\b(?:111|222|333|444|Traceback|Error)\b")
                self.assertEqual(words.findall(shown), words.findall(plain[0]))
                self.assertEqual(status, plain[1], shown)
                run = harness.Run(subprocess.CompletedProcess([], 0, b"", b""), output)
                self.assertEqual(changes(run.events), [("store", None, 1), ("store", 1, 2), ("store", 2, 3), ("store", 3, "end")], shown)

    def test_ipython(self):
        self.rules()
        typed = "v = 1\nv\nif True:\n    v = 2; w = 0\n    v\n\nimport asyncio\nv = await asyncio.sleep(0, 3)\nv = 4; v = 5; v\n"
        found = [(version, python) for version, python in harness.INTERPRETERS if self.execute([python, "-c", "import IPython"]).returncode == 0]
        if not found:
            self.skipTest("no IPython here")
        for version, python in found:
            with self.subTest(python=python):
                run = self.both(python, ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor", "--HistoryManager.enabled=False"], typed)
                top_level_await = [(2, 3)] if at_least(version, 11) else []
                steps = [(None, 1), (1, 2)] + top_level_await + [(3 if top_level_await else 2, 4), (4, 5)]
                self.assertEqual(changes(run.events), [("store", *step) for step in steps])

    def test_cells_of_a_notebook(self):
        self.rules('[[watch]]\nfile = "ipykernel_*/*.py"\nglobal = ["v"]\n')
        self.write({"run.py": """\
import nbformat, nbclient
cell = nbformat.v4.new_code_cell
book = nbformat.v4.new_notebook(cells=[cell("v = 1; u = 0"), cell("v = v + 1\\nprint(v)\\nv"), cell("from watcher import watch\\nw = watch([1])"),
                                       cell("w.append(2)"), cell("w = 6\\nv = 3")])
nbclient.NotebookClient(book, timeout=100, kernel_name="python3").execute()
for each in book.cells:
    print([dict(output, execution_count=0) for output in each.outputs])
"""})
        python = "/usr/bin/python3"
        if self.execute([python, "-c", "import nbclient, ipykernel"]).returncode != 0:
            self.skipTest("no nbclient and ipykernel for /usr/bin/python3")
        run = self.both(python, ["-X", "frozen_modules=off", "run.py"], environment={"PYDEVD_DISABLE_FILE_VALIDATION": "1"})
        self.assertEqual([(event["variable_name"], *change) for event, change in zip(run.events, changes(run.events))],
                         [("v", "store", None, 1), ("v", "store", 1, 2), ("w", "append", None, 2), ("w", "store", "[1, 2]", 6), ("v", "store", 2, 3)])


class FromElsewhere(Case):
    """Globals that other code changes, or by other means."""

    OTHER = """\
def by_attribute(module):
    module.v = 2
    setattr(module, "v", 3)
def by_dictionary(module):
    module.__dict__["v"] = 4
def cleared(module):
    vars(module).pop("v")
"""
    APP = """\
import sys, other
me = sys.modules[__name__]
v = 1
other.by_attribute(me)
other.by_dictionary(me)
def f():
    n = 0
f()
globals()["v"] = 5
exec("v = 6")
exec("def g():\\n    global v\\n    v = 7", globals())
g()
f()
globals().update(v=8)
other.cleared(me)
f()
v = 9
"""

    def test_the_place_is_that_of_the_code_that_did_it(self):
        self.write({"app.py": self.APP, "other.py": self.OTHER})
        self.rules('[[watch]]\nfile = "app.py"\nglobal = ["v"]\nlocal = ["n"]\n')
        for version, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                run = self.both(python, ["app.py"])
                events = run.of("v")
                values = [("store", None, 1), ("store", 1, 2), ("store", 2, 3)] + [("store", n, n + 1) for n in range(3, 8)]
                self.assertEqual(changes(events), values + [("delete", 8, None), ("store", None, 9)])
                seen = [(e["file"] and os.path.basename(e["file"]), e["line"], e["exact"]) for e in events]
                if at_least(version, 12):
                    wanted = [("app.py", 3), ("other.py", 2), ("other.py", 3), ("other.py", 5), ("app.py", 9), ("<string>", 1), ("<string>", 3),
                              ("app.py", 14), ("other.py", 7), ("app.py", 17)]
                    self.assertEqual(seen, [(*place, True) for place in wanted])
                else:  # told at the next hook: behind a statement that may do it, or when a hooked function is entered
                    wanted = [("app.py", 3, True), ("other.py", 2, True), ("other.py", 3, True), (None, None, False), ("app.py", 9, False),
                              ("app.py", 10, False), (None, None, False), ("app.py", 14, False), (None, None, False), ("app.py", 17, True)]
                    self.assertEqual(seen, wanted)

    def test_the_same_object_again_is_silent_by_dictionary(self):
        self.write({"app.py": "v = 1\nglobals()['v'] = 1\nglobals()['v'] = 2\n"})
        self.rules('[[watch]]\nfile = "app.py"\nglobal = ["v"]\n')
        self.on_each(["app.py"], "", COUNT)

    def test_a_test_that_patches(self):
        self.write({"app.py": "import target, unittest.mock as mock\nwith mock.patch('target.v', 2):\n    pass\nwith mock.patch.dict('target.__dict__', v=3):\n    pass\n",
                    "target.py": "v = 1\n"})
        self.rules('[[watch]]\nfile = "target.py"\nglobal = ["v"]\n')
        for version, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                seen = changes(self.both(python, ["app.py"]).events)
                self.assertEqual(seen[:3], [("store", None, 1), ("store", 1, 2), ("store", 2, 1)])
                if at_least(version, 12):
                    self.assertEqual(seen[3], ("store", 1, 3))
                    self.assertEqual(seen[-1][2], 1)

    def test_all_locals(self):
        self.write({"app.py": "g = 0\ndef f(a, b=2):\n    c = a + b\n    return [d for d in (c,)]\nf(1)\n"})
        for rules in ('track_locals = true\n[[watch]]\nfile = "app.py"\nglobal = ["other"]\n', '[[watch]]\nfile = "app.py"\nlocal = ["*"]\n',
                      '[[watch]]\nfile = "app.py"\nlocal = ["f.*"]\n'):
            self.rules(rules)
            self.on_each(["app.py"], "", [("store", None, 1), ("store", None, 2), ("store", None, 3), ("store", None, 3)])

    def test_qualified_names(self):
        source = "class A:\n    def run(self):\n        total = 1\n        def inner():\n            total = 2\n        inner()\ndef run():\n    total = 3\nA().run(); run()\n"
        self.write({"app.py": source})
        for rule, seen in (("A.run.total", [1]), ("A.*.total", [1, 2]), ("A.run.inner.total", [2]), ("run.total", [3]), ("*.total", [1, 2, 3])):
            self.rules(f'[[watch]]\nfile = "app.py"\nlocal = ["{rule}"]\n')
            self.on_each(["app.py"], "", [("store", None, n) for n in seen])


if __name__ == "__main__":
    harness.main()
