"""The package that stands in for Watcher has its functions, signatures and types, does nothing, and steps aside."""

import ast
import json

import harness

SIGNATURES = """\
import inspect, json, watcher
print(json.dumps({name: str(inspect.signature(getattr(watcher, name))) for name in watcher.__all__}))
"""
USE = """\
import watcher
from watcher import *
x = watch(1, "x", track_sql=True, when="new > 0", proxy=False)
x = 2
with watching([], "items") as items:
    items.append(1)
pause(); resume(); unwatch("x")
m = ShadowMemory(3, "m")
m.write(4)
p = WatchProxy(5, "p")
p += 1
print(x, items, type(stats()).__name__, sorted(stats()), m.value, p)
m.close()
"""


class Stub(harness.Case):
    def under(self, python, program, watched, stub):
        environment = {"PYTHONPATH": str(harness.STUB_PACKAGE.parent)} if stub else {}
        return self.watched(python, program, environment=environment) if watched else harness.Run(
            self.execute([python, "-B", str(program)], environment))

    def test_its_signatures_are_those_of_the_package(self):
        program = self.write({"app.py": SIGNATURES})
        for _, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                stub = json.loads(self.under(python, program, False, True).stdout)
                self.assertEqual(json.loads(self.under(python, program, True, False).stdout), stub)
                self.assertEqual(set(stub), {"watch", "unwatch", "watching", "pause", "resume", "stats", "WatchProxy", "ShadowMemory"})
                self.assertIn("on_change='record'", stub["watch"])

    def test_its_types_name_the_same_parameters(self):
        def parameters(path):
            def of(function):
                a = function.args
                return [x.arg for x in a.posonlyargs + a.args], [x.arg for x in a.kwonlyargs], a.vararg, a.kwarg and a.kwarg.arg

            out = {}
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.FunctionDef):
                    out[node.name] = of(node)
                elif isinstance(node, ast.ClassDef):
                    out.update((f"{node.name}.{f.name}", of(f)) for f in node.body if isinstance(f, ast.FunctionDef))
            return out

        typed = parameters(harness.STUB_PACKAGE / "__init__.pyi")
        typed.pop("ShadowMemory.memory")  # a plain attribute in the stub
        self.assertEqual(typed, parameters(harness.STUB_PACKAGE / "__init__.py"))
        self.assertTrue((harness.STUB_PACKAGE / "py.typed").exists())

    def test_it_does_nothing_and_steps_aside(self):
        program = self.write({"app.py": USE})
        for _, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                alone = self.under(python, program, False, True)
                self.assertEqual((alone.stderr, alone.status), (b"", 0))
                for stub in (False, True):
                    run = self.under(python, program, True, stub)
                    self.assertEqual((run.stdout, run.stderr, run.status), (alone.stdout, b"", 0))
                    self.assertEqual([(e["variable_name"], e["op"], e["line"]) for e in run.events],
                                     [("x", "store", 4), ("items", "append", 6), ("m", "store", 9), ("p", "store", 11)])

    def test_help_tells_of_everything(self):
        program = self.write({"app.py": "import pydoc, watcher\nprint(pydoc.render_doc(watcher, renderer=pydoc.plaintext))\n"})
        for _, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                text = self.under(python, program, True, False).stdout.decode()
                for part in ("watch(", "track_threads=False", "on_change=", "unwatch(name_or_value, /)", "class watching", "pause()",
                             "resume()", "stats()", "class WatchProxy", "class ShadowMemory", "mutation_depth  'FULL'"):
                    self.assertIn(part, text)


if __name__ == "__main__":
    harness.main()
