"""Names that a configuration watches: every way Python binds one, with old and new value, function, file, line, thread."""

import os

import harness
from harness import changes, value

USERS = (None, harness.NOBODY)


def rules(text):
    return "[[watch]]\n" + text


SKIP_FIRST = {"WATCHER_FIRST_BINDINGS": "skip"}  # the tests below are about what comes after


class Bindings(harness.Case):
    """No watch() call in the script; four lines of TOML."""

    settings = SKIP_FIRST

    def stores(self, source, expected, name="v", scope="local", extra=None, **settings):
        """`expected`: (op, before, after, line) of each event, line counted from 1 in `source`."""
        files = {"app.py": source}
        files.update(extra or {})

        def check(run):
            seen = [(*change, event["line"]) for change, event in zip(changes(run.of(name)), run.of(name))]
            self.assertEqual(seen, expected)
            self.assertEqual({event["scope"] for event in run.of(name)} - {scope}, set())

        self.on_all(files, check, config=rules(f'file = "app.py"\n{scope} = ["{name}"]\n'), **settings)

    def test_a_local_counted_in_a_loop(self):
        self.stores("def f():\n    v = 0\n    for i in range(3):\n        v += 1\nf()\n",
                    [("store", 0, 1, 4), ("store", 1, 2, 4), ("store", 2, 3, 4)], users=USERS, preload=(False, True))

    def test_a_global_rebound_from_another_function(self):
        self.stores("v = 1\ndef f():\n    global v\n    v = v + 1\nf(); f()\n",
                    [("store", 1, 2, 4), ("store", 2, 3, 4)], scope="global")

    def test_a_global_rebound_from_another_module(self):
        source = "import helper\nv = 1\nhelper.poke()\n"
        helper = "import __main__\ndef poke():\n    __main__.v = 5\n    setattr(__main__, 'v', 6)\n    del __main__.v\n"

        def check(run):
            self.assertEqual([(*c, e["function"], e["file"].split("/")[-1], e["line"])
                              for c, e in zip(changes(run.events), run.events)],
                             [("store", 1, 5, "poke", "helper.py", 3), ("store", 5, 6, "poke", "helper.py", 4),
                              ("delete", 6, None, "poke", "helper.py", 5)])

        self.on_all({"app.py": source, "helper.py": helper}, check, config=rules('file = "app.py"\nglobal = ["v"]\n'))

    def test_for_with_except_unpacking_walrus_def_import_class(self):
        source = """\
import contextlib
def f():
    v = 0
    for v in (1, 2):
        pass
    with contextlib.nullcontext(3) as v:
        pass
    (v, w), *rest = (4, 5), 6
    if (v := 7):
        pass
    try:
        raise ValueError("x")
    except ValueError as v:
        v = "inside"
    v = 8
    def v(): pass
    import json as v
    from json import decoder as v
    class v: pass
    del v
    v: int = 9
    v += 1
f()
"""
        def check(run):
            seen = [(c[0], e["line"]) for c, e in zip(changes(run.events), run.events)]
            self.assertEqual(seen, [("store", 4), ("store", 4), ("store", 6), ("store", 8), ("store", 9), ("store", 13),
                                    ("store", 14), ("store", 15), ("store", 16), ("store", 17), ("store", 18),
                                    ("store", 19), ("delete", 20), ("store", 21), ("store", 22)])
            values = changes(run.events)
            self.assertEqual([v[1:] for v in values[:5]], [(0, 1), (1, 2), (2, 3), (3, 4), (4, 7)])
            self.assertEqual(values[5][1:], (7, "ValueError('x')"))
            self.assertEqual(values[6][1:], ("ValueError('x')", "inside"))
            self.assertEqual(values[7][1:], (None, 8))  # the handler's end unbound it
            self.assertEqual(values[9][2], "<module 'json'>")
            self.assertEqual(values[12][2], None)
            self.assertEqual([v[1:] for v in values[13:]], [(None, 9), (9, 10)])

        self.on_all({"app.py": source}, check, config=rules('file = "app.py"\nlocal = ["v"]\n'))

    def test_a_handler_unbinds_its_name_each_time_it_is_left(self):
        self.stores("""\
def f():
    for i in range(2):
        try:
            1 / 0
        except ZeroDivisionError as v:
            v = i
            try:
                [][0]
            except IndexError as v:
                pass
            v = "outer"
    v = [1]
f()
""", [("store", None, "ZeroDivisionError('division by zero')", 5), ("store", "ZeroDivisionError('division by zero')", 0, 6),
      ("store", 0, "IndexError('list index out of range')", 9), ("store", None, "outer", 11),
      ("store", None, "ZeroDivisionError('division by zero')", 5), ("store", "ZeroDivisionError('division by zero')", 1, 6),
      ("store", 1, "IndexError('list index out of range')", 9), ("store", None, "outer", 11), ("store", None, "[1]", 12)][1:])

    def test_a_global_that_a_handler_unbound_is_bound_from_elsewhere(self):
        self.stores("import sys\ntry: 1 / 0\nexcept ZeroDivisionError as v: v = 1\nsys.modules['__main__'].v = 2\n"
                    "try: 1 / 0\nexcept ZeroDivisionError as v: v = 3\nfrom other import *\n",
                    [("store", "ZeroDivisionError('division by zero')", 1, 3), ("store", None, 2, 4), ("store", 2, "ZeroDivisionError('division by zero')", 6),
                     ("store", "ZeroDivisionError('division by zero')", 3, 6), ("store", None, 11, 7)], scope="global", extra={"other.py": "v = 11\n"})

    def test_a_global_that_a_handler_unbound_is_bound_by_its_dictionary(self):
        source = "try: 1 / 0\nexcept ZeroDivisionError as v:\n    globals()['v'] = 1\nglobals()['v'] = 2\n"
        self.stores(source, [("store", "ZeroDivisionError('division by zero')", 1, 3), ("store", None, 2, 4)], scope="global")

    def test_a_name_before_an_unpacking_that_fails_is_told(self):
        self.stores("""\
class C: pass
def f(self, n):
    try: v, (b, c) = n, 5
    except TypeError as e: print(e, e.__traceback__.tb_lineno)
    try: v = (b, c) = "abc"
    except ValueError as e: print(e)
    v, (b, *c), *d = 3, "xyz", 6, 7
    try:
        for v, [b, (c, e)] in [(8, (1, (2, 3))), (9, 5)]: pass
    except TypeError: pass
    v, self.x, (b, v) = 10, 11, (12, 13)
    print(b, c, d, e, self.x)
    def g():
        yield v
    return [*g()]
f(C(), 1)
print(getattr(C, "__static_attributes__", ("x",)))
""", [("store", None, 1, 3), ("store", 1, "abc", 5), ("store", "abc", 3, 7), ("store", 3, 8, 9), ("store", 8, 9, 9), ("store", 9, 10, 11),
      ("store", 10, 13, 11)][1:])

    def test_a_variable_that_only_a_comprehension_binds_begins_anew_with_each_call(self):
        self.stores("def f():\n    [(v := x) for x in range(2)]\nf()\nf()\n", [("store", 0, 1, 2)] * 2)

    def test_each_target_of_a_statement_is_told_by_itself(self):
        self.stores("""\
def f(b=[0]):
    try: v, b[9] = 1, 2
    except IndexError: pass
    v, v = 3, 4
    v, b[0], v = 5, 6, 7
    for v, v in [(8, 9)]: pass
    try: del v, b[9]
    except IndexError: pass
    try: import json as v, no_such_module
    except ImportError: pass
f()
""", [("store", 1, 3, 4), ("store", 3, 4, 4), ("store", 4, 5, 5), ("store", 5, 7, 5), ("store", 7, 8, 6), ("store", 8, 9, 6), ("delete", 9, None, 7),
      ("store", None, "<module 'json'>", 9)])

    def test_comprehension_variables_begin_anew_with_each_evaluation(self):
        self.stores("""\
def f(n):
    v = n
    r = [[v for v in range(2)] for _ in range(2)]
    {v: 1 for v in (5, 6)}, list(v for v in (7, 8))
    fs = [lambda: v for v in (1, 2)]
    v = v + 1
f(100)
class C:
    r = [v for v in (1, 2)]
[v for v in (3, 4)]
""", [("store", 0, 1, 3), ("store", 0, 1, 3), ("store", 5, 6, 4), ("store", 7, 8, 4), ("store", 1, 2, 5), ("store", 100, 101, 6),
      ("store", 1, 2, 9), ("store", 3, 4, 10)])

    def test_a_global_outlives_a_comprehension_variable_of_its_name(self):
        """On 3.12 `import *` deletes the globals whose names it takes for unbound locals."""
        source = "v = 0\nv = 1\nr = [v for v in (2, 3)]\nfrom string import *\nprint(v, sorted(n for n in globals() if n == 'v'))\n"
        self.on_all({"app.py": source}, lambda run: self.assertEqual(changes(run.of("v"))[0], ("store", 0, 1)),
                    config=rules('file = "app.py"\nglobal = ["v"]\n'))

    def test_attributes_that_methods_store_are_listed_as_ever(self):
        self.on_all({"app.py": "class C:\n    def f(self):\n        v = self.a = 1\n        v, self.b = 1, 2\nC().f()\n"
                     "print(sorted(getattr(C, '__static_attributes__', ())))\n"},
                    lambda run: self.assertEqual(changes(run.events), [("store", 1, 1)]), config=rules('file = "app.py"\nlocal = ["v"]\n'))

    def test_match_patterns(self):
        source = """\
def f(x):
    v = 0
    match x:
        case [v, 2] if v > 100:
            pass
        case {"k": v}:
            pass
        case [_, *v] | v:
            pass
    return v
f([1, 2]); f({"k": 3}); f([4])
"""
        program = self.write({"app.py": source})
        for version, python in harness.INTERPRETERS:
            if tuple(map(int, version.split("."))) < (3, 10):
                continue
            with self.subTest(python=python):
                run = self.watched(python, program, config=rules('file = "app.py"\nlocal = ["v"]\n'))
                self.assert_same_host(self.plain(python, program), run)
        source = source.replace("        case [_, *v] | v:\n", "        case [_, *v]:\n")
        program = self.write({"app.py": source})
        for version, python in harness.INTERPRETERS:
            if tuple(map(int, version.split("."))) < (3, 10):
                continue
            with self.subTest(python=python):
                run = self.watched(python, program, config=rules('file = "app.py"\nlocal = ["v"]\n'))
                self.assertEqual([(v[1], v[2], e["line"]) for v, e in zip(changes(run.events), run.events)],
                                 [(0, 1, 4), (1, "[2]", 8), (0, 3, 6), (0, "[]", 8)])

    def test_star_import_class_body_lambda_and_walrus_in_defaults(self):
        self.stores("v = 1\nfrom other import *\nfrom other import *\n",
                    [("store", 1, 11, 2), ("store", 11, 11, 3)], scope="global", extra={"other.py": "v = 11\n_v = 12\n"})
        self.stores("class C:\n    v = 1\n    v = 2\n    class D:\n        v = 5\n    v += 1\n",
                    [("store", 1, 2, 3), ("store", 2, 3, 6)])
        self.stores("f = lambda v: [(v := v + 1), v][0]\nf(1); f(5)\n", [("store", 1, 2, 1), ("store", 5, 6, 1)])
        self.stores("def f():\n    v = 0\n    def g(a=(v := 3), *, b=(v := 4)): pass\n    return lambda c=(v := 5): c\nf()\n",
                    [("store", 0, 3, 3), ("store", 3, 4, 3), ("store", 4, 5, 4)])

    def test_parameters_are_initial_states(self):
        self.stores("def f(v, *w, k=1, **z):\n    v = v * 2\n    return v\nf(1); f(10)\n",
                    [("store", 1, 2, 2), ("store", 10, 20, 2)])

    def test_a_recursive_functions_local_belongs_to_its_call(self):
        self.stores("def f(n):\n    v = n\n    if n:\n        v = v * f(n - 1)\n    else:\n        v = 1\n    return v\nprint(f(3))\n",
                    [("store", 0, 1, 6), ("store", 1, 1, 4), ("store", 2, 2, 4), ("store", 3, 6, 4)])

    def test_generators_keep_their_own_values(self):
        self.stores("def g(s):\n    v = s\n    while True:\n        v += 1\n        yield v\n"
                    "a, b = g(0), g(100)\nfor _ in range(2): next(a), next(b)\n",
                    [("store", 0, 1, 4), ("store", 100, 101, 4), ("store", 1, 2, 4), ("store", 101, 102, 4)])

    def test_coroutines_keep_their_own_values(self):
        self.stores("import asyncio\nasync def c(s):\n    v = s\n    for _ in range(2):\n        v += 1\n        await asyncio.sleep(0)\n"
                    "async def main(): await asyncio.gather(c(0), c(10))\nasyncio.run(main())\n",
                    [("store", 0, 1, 5), ("store", 10, 11, 5), ("store", 1, 2, 5), ("store", 11, 12, 5)])

    def test_closure_variables_are_one_variable(self):
        self.stores("def outer():\n    v = 0\n    def inc():\n        nonlocal v\n        v += 1\n    inc(); inc()\n    v = 9\nouter()\nouter()\n",
                    [("store", 0, 1, 5), ("store", 1, 2, 5), ("store", 2, 9, 7)] * 2)

    def test_a_second_call_starts_unbound(self):
        self.stores("def f(n):\n    v = n\n    v = n + 1\nf(1)\nf(5)\n", [("store", 1, 2, 3), ("store", 5, 6, 3)])

    def test_two_threads_in_one_function(self):
        source = ("import threading\nids = {}\ndef f(k):\n    ids[k] = threading.get_native_id()\n    v = 0\n"
                  "    for i in range(500):\n        v += k\nts = [threading.Thread(target=f, args=(k,)) for k in (1, 1000)]\n"
                  "[t.start() for t in ts]; [t.join() for t in ts]\nprint(ids[1], ids[1000])\n")
        program = self.write({"app.py": source})
        for version, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                run = self.watched(python, program, config=rules('file = "app.py"\nlocal = ["v"]\n'))
                self.assertEqual(run.status, 0, run.stderr)
                for k, thread in zip((1, 1000), map(int, run.stdout.split())):
                    mine = [event for event in run.events if event["thread_id"] == thread]
                    self.assertEqual(changes(mine), [("store", k * i, k * (i + 1)) for i in range(500)])
                self.assertEqual(len(run.events), 1000)

    def test_a_reloaded_module_knows_what_it_held(self):
        self.stores("import importlib, mod\nimportlib.reload(mod)\n", [], extra={"mod.py": "v = 1\n"})
        source = "import importlib, mod\nmod.v = 7\nimportlib.reload(mod)\n"
        self.on_all({"app.py": source, "mod.py": "v = 1\n"},
                    lambda run: self.assertEqual(changes(run.events), [("store", 1, 7), ("store", 7, 1)]),
                    config=rules('file = "mod.py"\nglobal = ["v"]\n'))

    def test_the_scope_file_says_the_same_as_the_toml(self):
        source = "v = 0\ndef f():\n    global v\n    v = 1\n    w = 1\n    w = 2\nf()\n"
        (self.directory / "scope.txt").write_text("# names\n\napp.py:(global:v,local:w)\n")
        program = self.write({"app.py": source})
        for version, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                by_scope = self.watched(python, program, options=["--files-scope", str(self.directory / "scope.txt")])
                by_toml = self.watched(python, program, config=rules('file = "app.py"\nlocal = ["w"]\nglobal = ["v"]\n'))
                self.assertEqual(changes(by_scope.events), changes(by_toml.events))
                self.assertEqual(changes(by_scope.events), [("store", 0, 1), ("store", 1, 2)])

    def test_unknown_matches_either_scope_and_the_event_says_which(self):
        def check(run):
            self.assertEqual([e["scope"] for e in run.events], ["global", "local"])

        self.on_all({"app.py": "v = 0\nv = 1\ndef f():\n    v = 5\n    v = 6\nf()\n"}, check,
                    config=rules('file = "app.py"\nunknown = ["v"]\n'))

    def test_watch_reaches_only_what_it_was_assigned_to(self):
        source = ("from watcher import watch\nimport watcher\ndef f(on):\n    n = 1\n    if on:\n        n = watch(n, name='renamed')\n"
                  "    n = n + 1\n    return n\nf(False); f(True); f(False)\ng = watcher.watch(5)\ng = 6\n"
                  "def h():\n    global g\n    g = 7\nh()\na, b = watch(1), 2\na = 3\nb = 4\n")

        def check(run):
            self.assertEqual([(e["variable_name"], *c) for e, c in zip(run.events, changes(run.events))],
                             [("renamed", "store", 1, 2), ("g", "store", 5, 6), ("g", "store", 6, 7), ("a", "store", 1, 3)])

        self.on_all({"app.py": source}, check)

    def test_values_of_every_kind(self):
        source = ("class Thing:\n    pass\ndef f():\n    v = None\n    for v in (True, -5, 2**40, -2**70, 1.5, 'text', 'h\\u00e9\\u4e16', b'raw', "
                  "[1, 'a'], {'k': (1,)}, {3}, Thing):\n        pass\nf()\n")

        def check(run):
            self.assertEqual([value(e["after"]) for e in run.events],
                             [True, -5, 2**40, value(run.events[3]["after"]), 1.5, "text", "h\u00e9\u4e16", "b'raw'",
                              "[1, 'a']", "{'k': (1,)}", "{3}", "<class '__main__.Thing'>"])
            self.assertEqual(int(value(run.events[3]["after"])), -2**70)

        self.on_all({"app.py": source}, check, config=rules('file = "app.py"\nlocal = ["v"]\n'))


class Fidelity(harness.Case):
    """What the host shows does not change."""

    settings = SKIP_FIRST

    PROGRAM = '''\
"""doc"""
from __future__ import annotations
import inspect, sys, traceback, warnings
v = 0
def f(v, n=(lambda v: v)(2)):
    "docstring"
    v = (v +
         n)
    for v in range(3): pass
    try:
        1 / 0
    except ZeroDivisionError as w:
        traceback.print_exc()
    return v
class C:
    "class doc"
    v = 1
    def m(self):
        return __class__
lines = []
def tracer(frame, event, arg):
    if frame.f_code.co_filename == __file__ or frame.f_code.co_filename.endswith("app.py"):
        lines.append((event, frame.f_lineno, frame.f_code.co_name))
    return tracer
sys.settrace(tracer)
f(1)
C().m()
sys.settrace(None)
print(lines)
print(f.__doc__, C.__doc__, __doc__, f.__annotations__, sorted(C.__dict__))
print(inspect.getsource(f), f.__code__.co_varnames, f.__code__.co_argcount, sorted(globals()))
def deep(n):
    v = n
    raise KeyError(v) if n == 0 else deep(n - 1)
deep(3)
'''

    def test_tracebacks_traces_sources_and_names_stay(self):
        self.on_all({"app.py": self.PROGRAM}, lambda run: self.assertTrue(run.events),
                    config=rules('file = "app.py"\nboth = ["*"]\n'))

    def test_all_ways_to_start_a_program(self):
        self.write({"pkg/__init__.py": "", "pkg/__main__.py": "v = 0\nv = 1\nprint(__name__, __file__ is not None)\n"})
        for version, python in harness.INTERPRETERS:
            for flags in ([], ["-I"], ["-S"], ["-O"], ["-X", "dev"], ["-W", "error"]):
                arguments = [python, "-B", *flags, "pkg"]
                plain = harness.Run(self.execute(arguments))
                output = self.directory / "out"
                (self.directory / "rules.toml").write_text(rules('file = "pkg/__main__.py"\nglobal = ["v"]\n'))
                done = self.execute([str(harness.BUILD / "tools/watcher-exec"), "--config", "rules.toml", "--output", str(output), *arguments])
                with self.subTest(python=python, flags=flags):
                    run = harness.Run(done, output)
                    self.assert_same_host(plain, run)
                    self.assertEqual(changes(run.events), [("store", None, 0), ("store", 0, 1)])
                harness.shutil.rmtree(output)

    def test_forked_children_record_for_themselves(self):
        source = ("import os\nv = 0\nprint(flush=True)\npids = []\nfor i in range(3):\n    pid = os.fork()\n    if pid == 0:\n"
                  "        for k in range(100): v = 1000 * i + k\n        os._exit(0)\n    pids.append(pid)\n"
                  "for pid in pids: os.waitpid(pid, 0)\nv = -1\n")

        def check(run):
            children = {event["pid"] for event in run.events}
            self.assertEqual(len(children), 4)
            self.assertEqual(len(run.events), 301)
            self.assertEqual(run.summary["written"], 301)

        self.on_all({"app.py": source}, check, config=rules('file = "app.py"\nglobal = ["v"]\n'), preload=(False, True))


if __name__ == "__main__":
    harness.main()
