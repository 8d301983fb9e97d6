"""on_change = "break": the debugger is entered at the line of the change, after its event."""

import harness
from harness import value

HOOK = """\
import sys
from watcher import watch
def hook():
    frame = sys._getframe(1)
    print("break", frame.f_code.co_name, frame.f_lineno, seen(frame))
def seen(frame):
    return {name: frame.f_locals[name] for name in ("x", "items", "y") if name in frame.f_locals}
sys.breakpointhook = hook
"""


class Debugger(harness.Case):
    def watched_only(self, source, check, **settings):
        program = self.write({"app.py": source})
        for _, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                check(self.watched(python, program, **settings))

    def test_the_storing_frame_is_the_one_shown(self):
        source = HOOK + """\
def f():
    x = watch(0, on_change="break", when="new > 1")
    x = 1
    x = 2
    items = watch([], on_change="break")
    items.append(4)
    items[0] = 5
    y = 3
class K: pass
def g():
    k = watch(K(), on_change="break")
    k.a = 1
    del k.a
f()
g()
"""
        said = ("break f 12 {'x': 2}\nbreak f 14 {'x': 2, 'items': [4]}\nbreak f 15 {'x': 2, 'items': [5]}\n"
                "break f 16 {'x': 2, 'items': [5], 'y': 3}\nbreak g 20 {}\nbreak g 21 {}\n")

        def check(run):
            self.assertEqual((run.stdout.decode(), run.stderr, run.status), (said, b"", 0))
            self.assertEqual([value(e["after"]) for e in run.of("x")], [2])

        self.watched_only(source, check, config='[[watch]]\nfile = "app.py"\nlocal = ["f.y"]\non_change = "break"\n')

    def test_globals_changed_by_their_dictionary(self):
        source = HOOK + """\
v = 0
globals()["v"] = 1
exec("v = 2")
globals().update(v=3)
def f():
    globals()["v"] = 4
    del globals()["v"]
f()
vars()["v"] = 5
"""
        said = "".join(f"break {function} {line} {{}}\n" for function, line in (
            ("<module>", 9), ("<module>", 10), ("<module>", 11), ("<module>", 12), ("f", 14), ("f", 15), ("<module>", 17)))

        def check(run):
            self.assertEqual((run.stdout.decode(), run.stderr, run.status), (said, b"", 0))

        self.watched_only(source, check, config='[[watch]]\nfile = "app.py"\nglobal = ["v"]\non_change = "break"\n')

    def test_what_the_hook_raises_is_raised_by_the_store(self):
        source = """\
import sys
from watcher import watch
def quit():
    raise ValueError("quit")
sys.breakpointhook = quit
def name():
    x = watch(0, on_change="break")
    try:
        x = 1
    except ValueError as error:
        print(error, error.__traceback__.tb_lineno, x)
def item():
    items = watch([], on_change="break")
    try:
        items.append(1)
        for i in range(100): pass
    except ValueError:
        print("quit", items)
name()
item()
"""
        self.watched_only(source, lambda run: self.assertEqual(
            (run.stdout, run.stderr, run.status), (b"quit 9 1\nquit [1]\n", b"", 0)))

    def test_pdb_and_the_environment(self):
        source = "from watcher import watch\ndef f():\n    x = watch(0, on_change='break')\n    x = 1\n    y = 2\nf()\n"
        program = self.write({"app.py": source})
        for _, python in harness.INTERPRETERS:
            for setting, shown in ((None, True), ("0", False)):
                with self.subTest(python=python, setting=setting):
                    environment = {"PYTHONBREAKPOINT": setting} if setting else {}
                    command = [str(harness.BUILD / "tools" / "watcher-exec"), "--output", str(self.directory / "pdb"), "--",
                               python, "-B", str(program)]
                    done = self.execute(command, environment, input=b"p x + 41\nw\nc\n")
                    self.assertEqual(done.returncode, 0)
                    self.assertEqual(b"42" in done.stdout, shown)
                    self.assertEqual(b"app.py" in done.stdout and b"f()" in done.stdout, shown)
                    self.assertNotIn(b"<watcher>", done.stdout)


if __name__ == "__main__":
    harness.main()
