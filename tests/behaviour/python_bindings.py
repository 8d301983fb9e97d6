"""Names that are bound where no statement can stand behind them: by an import that fails, and type parameters."""

import harness
from harness import value

EVERY_NAME = '[[watch]]\nfile = "program.py"\nboth = ["*"]\n'


def seen(run, names):
    return [(e["function"], e["variable_name"], e["line"]) for e in run.events if e["variable_name"] in names and e["op"] == "store"]


class FailedImports(harness.Case):
    def check_events(self, program, names, expected):
        self.on_all({"program.py": program, "pkg/__init__.py": "first = 1\n", "pkg/late.py": "print('late'); raise KeyError(1)\n"},
                    lambda run: self.assertEqual(seen(run, names), expected), config=EVERY_NAME)

    def test_what_was_bound_before_the_missing_name_is_told(self):
        self.check_events("""
import traceback
def function():
    closure = None
    try:
        from os import path, sep as closure, missing, name
    except ImportError:
        print(traceback.format_exc().count("line 6"))
    return lambda: closure
function()
class Body:
    try:
        from os import path, missing
    except ImportError: pass
from os import sep, linesep, missing
""", ("path", "sep", "closure", "linesep", "name"), [
            ("function", "closure", 4), ("function", "path", 6), ("function", "closure", 6), ("Body", "path", 13),
            ("<module>", "sep", 15), ("<module>", "linesep", 15)])

    def test_what_was_there_before_a_failing_module_or_submodule_is_not(self):
        self.check_events("""
first = 0
for attempt in range(2):
    try:
        from pkg import first, late
    except KeyError as error: print(error)
try:
    from nosuch import first, second
except ImportError as error: print(error)
print(first)
""", ("first", "late", "second"), [("<module>", "first", 2)])


    def test_a_failed_modules_namespace_that_the_collector_takes_apart_is_not_told(self):
        self.on_all({"program.py": """
import gc
for attempt in range(2):
    try:
        import failing
    except ValueError: pass
    gc.collect()
import ending
ending.clear()
""", "failing.py": "a = 1\ndef function(): return a\nraise ValueError\n", "ending.py": "b = 1\ndef clear(): globals().clear()\n"},
                    lambda run: self.assertEqual([e["op"] for e in run.of("a")], ["store"] * 2),
                    config='[[watch]]\nfile = "failing.py"\nglobal = ["a"]\n[[watch]]\nfile = "ending.py"\nglobal = ["b"]\n')


class TypeParameters(harness.Case):
    def test_they_are_told_before_what_they_are_parameters_of(self):
        program = """
import sys
def plain(made): return made
def f[T](x: T) -> T: return x
@plain
def g[U: int, *Ts, **P](*args: *Ts) -> U:
    "documented"
class C[T]:
    "documented"
    y = 1
    def m[V](self, v: V) -> T: return v
type X[T] = list[T]
print(f(3), g.__doc__, g.__code__.co_firstlineno, C.__doc__, C().m(2), X.__type_params__, f.__type_params__, C.__type_params__)
"""

        def check(run):
            self.assertEqual(seen(run, ("T", "U", "Ts", "P", "V", "f", "g", "C", "X")), [
                ("<generic parameters of f>", "T", 4), ("<module>", "f", 4),
                ("<generic parameters of g>", "U", 6), ("<generic parameters of g>", "Ts", 6), ("<generic parameters of g>", "P", 6),
                ("<module>", "g", 6),
                ("<generic parameters of C>", "T", 8), ("C.<generic parameters of m>", "V", 11), ("<module>", "C", 8),
                ("<generic parameters of X>", "T", 12), ("<module>", "X", 12)])
            self.assertEqual([(e["before"], value(e["after"])) for e in run.of("Ts")], [(None, "Ts")])

        program = self.write({"program.py": program})
        for version, python in harness.INTERPRETERS:
            if int(version.split(".")[1]) < 12:
                continue
            with self.subTest(python=python):
                plain, watched = self.plain(python, program), self.watched(python, program, config=EVERY_NAME)
                self.assert_same_host(plain, watched)
                self.assertEqual(watched.status, 0)
                check(watched)


if __name__ == "__main__":
    harness.main()
