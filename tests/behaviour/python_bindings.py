"""Names that are bound where no statement can stand behind them: by an import that fails, and type parameters; and all odd forms of bindings."""

import pathlib

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


class OddForms(harness.Case):
    """The programs in bindings/ say behind each line which events it gives, in order: `name=value`, `name` alone where only its address would tell,
    `-name` for a deletion."""

    @staticmethod
    def wanted(text):
        lines = enumerate(text.splitlines(), 1)
        return {number: line.split("#:")[1].strip().split("; ") for number, line in lines if "#:" in line}

    @staticmethod
    def told(events, wanted):
        lines = {}
        for event in events:
            if event["path"] or event["op"] not in ("store", "delete") or not event["file"].endswith(".py"):
                continue
            seen, name = lines.setdefault(event["line"], []), event["variable_name"]
            line = wanted.get(event["line"], [])
            short = len(seen) < len(line) and line[len(seen)] == name
            after = str(value(event["after"])).replace("\n", "\\n")
            seen.append("-" + name if event["op"] == "delete" else name if short else f"{name}={after}")
        return lines

    def test_each_line_gives_the_events_that_stand_behind_it(self):
        for path in sorted((pathlib.Path(__file__).parent / "bindings").glob("odd_*.py")):
            text = path.read_text()
            program = self.write({path.name: text, "stars.py": "a = 1\nb = 2\n_c = 3\n"})
            for version, python in harness.INTERPRETERS:
                if int(version.split(".")[1]) < int(path.stem.split("_")[2]):
                    continue
                with self.subTest(program=path.name, python=python):
                    plain, watched = self.plain(python, program), self.watched(python, program, config=f'[[watch]]\nfile = "{path.name}"\nboth = ["a", "b", "c"]\n')
                    self.assert_same_host(plain, watched)
                    self.assertEqual(watched.status, 0, watched.stderr)
                    self.assertEqual(self.told(watched.events, self.wanted(text)), self.wanted(text))


if __name__ == "__main__":
    harness.main()
