"""The functions of the package `watcher`: what watch() takes, and what ends, stops and counts its variables."""

import harness
from harness import changes, value


class Api(harness.Case):
    def run_all(self, source, check, **settings):
        self.on_all({"app.py": "from watcher import watch, unwatch, watching, pause, resume, stats\n" + source}, check, **settings)

    def expect(self, source, expected, **settings):
        """(name, op, path, before, after, line) of each event; lines count from the source's own first one."""
        self.run_all(source, lambda run: self.assertEqual(
            [(e["variable_name"], e["op"], e["path"], value(e["before"]), value(e["after"]), e["line"] and e["line"] - 1)
             for e in run.events], expected), **settings)


class Names(Api):
    def test_the_name_is_that_of_the_target_in_every_form(self):
        source = """\
def main():
    simple = watch(0)
    simple = 1
    a, [b, *_] = watch(2), (watch(3), 0)
    a = 20
    annotated: int = watch(4)
    annotated = 40
    if (walrus := watch(5)):
        walrus = 50
    first = second = watch(6)
    first = 60
    with watching(7) as block:
        block = 70
    global top
    top = watch(8)
    top = 80
main()
top = 81
"""
        self.expect(source, [
            ("simple", "store", [], 0, 1, 3), ("a", "store", [], 2, 20, 5), ("annotated", "store", [], 4, 40, 7),
            ("walrus", "store", [], 5, 50, 9), ("first", "store", [], 6, 60, 11), ("block", "store", [], 7, 70, 13),
            ("top", "store", [], 8, 80, 16), ("top", "store", [], 80, 81, 18)])

    def test_a_star_import_and_the_modules_name_do_as_well(self):
        source = "from watcher import *\nimport watcher as w\nx = watch(1)\nx = 2\ny = w.watch(3)\ny = 4\n"
        self.expect(source, [("x", "store", [], 1, 2, 4), ("y", "store", [], 3, 4, 6)])

    def test_an_attribute_is_a_variable(self):
        source = """\
class T:
    def __init__(self):
        self.count = watch(0)
        self.__private = watch(1, name="private")
        self.jobs: list = watch([])
        self.other = 0
    def work(self):
        self.count += 1
        self.__private = 2
        self.jobs.append(3)
        self.other = 4
t, u = T(), T()
t.work()
unwatch("self.count")
t.count = u.count = 9
del t, u
t = T()
t.count = 5
del t.count
"""
        self.expect(source, [
            ("self.count", "store", [], 0, 1, 8), ("private", "store", [], 1, 2, 9),
            ("self.jobs", "append", [0], None, 3, 10), ("self.count", "store", [], 0, 5, 18),
            ("self.count", "delete", [], 5, None, 19)])

    def test_a_given_name_stays_when_another_value_is_bound(self):
        self.expect("x = watch([], name='given')\nx = [1]\nx.append(2)\n",
                    [("given", "store", [], "[]", "[1]", 2), ("given", "append", [1], None, 2, 3)])


class Settings(Api):
    def test_each_variable_has_its_own(self):
        source = """\
import sqlite3
def main():
    plain = watch(0)
    sql = watch(0, track_sql=True)
    thread = watch(0, track_threads=True)
    scoped = watch(0, scope="both")
    cut = watch("aaaa", mutation_depth=2)
    sql_list = watch([], track_sql=True)
    db = sqlite3.connect(":memory:")
    db.execute("select 1")
    plain = sql = thread = scoped = 1
    cut = "bbbb"
    sql_list.append(1)
    memory.track[0] = 1
class memory:
    track = None
memory.track = buffer = watch(bytearray(8), track_sql=True)
main()
"""

        def check(run):
            only = {name: run.of(name)[0] for name in ("plain", "sql", "thread", "scoped", "cut", "sql_list", "buffer")}
            self.assertEqual(len(run.events), 7)
            for name, event in only.items():
                statement = event["sql_context"] and event["sql_context"]["statement"]
                self.assertEqual(statement, "select 1" if name in ("sql", "sql_list", "buffer") else None, name)
                self.assertEqual(event.get("thread_name"), "MainThread" if name == "thread" else None, name)
                self.assertEqual(event["scope"], {"scoped": "both", "buffer": "global"}.get(name, "local"))
            self.assertEqual([delta["offset"] for delta in only["cut"]["deltas"]], [0, 1])
            self.assertEqual(only["cut"]["deltas_total"], 4)

        self.run_all(source, check)

    def test_a_condition_of_one_variable(self):
        source = "x = watch(0, when='new > 1 and line != 4')\ny = watch(0)\nx = y = 1\nx = y = 2\nx = y = 3\n"

        def check(run):
            self.assertEqual([value(e["after"]) for e in run.of("x")], [2, 3])
            self.assertEqual([value(e["after"]) for e in run.of("y")], [1, 2, 3])

        self.run_all(source, check)

    def test_track_locals_takes_the_function_along_from_there_on(self):
        source = """\
def main():
    before = 1
    items = []
    v = watch(0, track_locals=True)
    before = 2
    items.append(3)
    later = 4
    def inner():
        nonlocal later
        later = 5
    inner()
    before, v = 6, 7
def other():
    before = 1
main()
other()
main.x = 1
"""
        events = [("before", "store", [], 1, 2, 5), ("items", "append", [0], None, 3, 6), ("later", "store", [], None, 4, 7),
                  ("later", "store", [], 4, 5, 10), ("before", "store", [], 2, 6, 12), ("v", "store", [], 0, 7, 12)]
        self.run_all(source, lambda run: self.assertEqual(
            [(e["variable_name"], e["op"], e["path"], value(e["before"]), value(e["after"]), e["line"] - 1)
             for e in run.events if e["variable_name"] != "inner"], events))

    def test_what_is_wrong_is_said(self):
        source = """\
def refused(*args, **settings):
    try:
        watch(*args, **settings)
    except (TypeError, ValueError) as error:
        print(type(error).__name__ + ": " + str(error))
refused()
refused(1, "a", 2)
refused(1, value=2)
refused(1, name=3)
refused(1, nmae="x")
refused(1, track_sql="yes")
refused(1, mutation_depth="all")
refused(1, mutation_depth=0)
refused(1, mutation_depth=1.5)
refused(1, scope="here")
refused(1, when="new >")
refused(1, when=3)
refused(1, on_change="stop")
refused(1, proxy="p")
try:
    unwatch(3)
except TypeError as error:
    print(error)
"""
        said = """\
TypeError: watch() missing 1 required positional argument: 'value'
TypeError: watch() takes at most 2 positional arguments (3 given)
TypeError: watch() got multiple values for argument 'value'
TypeError: watch() argument 'name' must be str, not int
TypeError: watch() got an unexpected keyword argument 'nmae'
TypeError: watch() argument 'track_sql' must be True or False, not str
ValueError: watch() argument 'mutation_depth' must be 'FULL' or a number of bytes from 1 to 4294967295, not 'all'
ValueError: watch() argument 'mutation_depth' must be 'FULL' or a number of bytes from 1 to 4294967295, not 0
TypeError: watch() argument 'mutation_depth' must be 'FULL' or a number of bytes from 1 to 4294967295, not float
ValueError: watch() argument 'scope' must be 'local', 'global', 'both' or 'unknown', not 'here'
ValueError: watch() argument 'when' is no condition: column 6: expected old, new, name, path, thread, line, function, \
file, op, scope, a number or a text, not the end
TypeError: watch() argument 'when' must be a condition such as "new > 100 and old <= 100", not int
ValueError: watch() argument 'on_change' must be 'record' or 'break', not 'stop'
TypeError: watch() argument 'proxy' must be True or False, not str
unwatch() argument must be the name of a variable or a watched object, not int
"""
        program = self.write({"app.py": "from watcher import watch, unwatch\n" + source})
        for _, python in harness.INTERPRETERS:
            with self.subTest(python=python):
                run = self.watched(python, program)
                self.assertEqual((run.stdout.decode(), run.stderr, run.status), (said, b"", 0))


class Ends(Api):
    def test_unwatch_by_name_and_by_object(self):
        source = """\
def main():
    n = watch(0)
    n = 1
    unwatch("n")
    n = 2
    items, buffer = watch([]), watch(bytearray(4))
    items.append(1)
    buffer[0] = 1
    unwatch(items)
    unwatch(buffer)
    items.append(2)
    buffer[0] = 2
    items = [3]
    items.append(4)
    n = watch(5)
    n = 6
    unwatch("nobody")
    unwatch(object())
main()
watch(free := [], name="unbound")
free.append(1)
unwatch("unbound")
free.append(2)
print(type(free) is list, free)
"""
        self.expect(source, [
            ("n", "store", [], 0, 1, 3), ("items", "append", [0], None, 1, 7), ("buffer", "write", [0], 0, 1, 8),
            ("n", "store", [], 5, 6, 16), ("unbound", "append", [0], None, 1, 21)])

    def test_a_block_ends_what_it_began(self):
        source = """\
def main():
    for i in range(2):
        with watching([], "items") as items:
            items.append(i)
        items.append(9)
        with watching(0) as n, watching({}) as d:
            n = i
            d["k"] = i
        n, d = 5, 6
    try:
        with watching(0) as m:
            m = 1
            raise KeyError
    except KeyError:
        m = 2
    loose = []
    with watching(loose, "loose"):
        loose.append(1)
    loose.append(2)
main()
"""
        block = [[("items", "append", [0], None, i, 4), ("n", "store", [], 0, i, 7), ("d", "setitem", ["k"], None, i, 8)]
                 for i in (0, 1)]
        self.expect(source, block[0] + block[1] + [("m", "store", [], 0, 1, 12), ("loose", "append", [0], None, 1, 18)])


class Pauses(Api):
    def test_a_pause_is_told_as_one_event_of_each_variable(self):
        source = """\
def main():
    n, same, text = watch(0), watch(1), watch("a")
    items, buffer = watch([[0]], name="items"), watch(bytearray(4), name="buffer")
    n = 1
    pause()
    pause()
    for i in range(5):
        n = 10 + i
        items[0].append(i)
        buffer[1] = i
    same = 2
    same = 1
    text = "b"
    resume()
    resume()
    n = 2
    items.append(6)
    buffer[1] = 7
    return n
main()
"""

        def check(run):
            seen = [(e["variable_name"], e["op"], value(e["before"]), value(e["after"]), e["exact"])
                    for e in run.events if e["op"] != "freed"]
            self.assertEqual(seen[0], ("n", "store", 0, 1, True))
            self.assertEqual(sorted(seen[1:5]), [
                ("buffer", "resumed", 0, 4, False), ("items", "resumed", "[[0]]", "[[0, 0, 1, 2, 3, 4]]", False),
                ("n", "resumed", 1, 14, False), ("text", "resumed", "a", "b", False)])
            self.assertEqual(seen[5:], [
                ("n", "store", 14, 2, True), ("items", "append", None, 6, True), ("buffer", "write", 4, 7, True)])
            for event in run.events[1:5]:
                self.assertIsNone(event["line"])

        self.run_all(source, check)

    def test_stats_count(self):
        source = """\
x = watch(bytearray(8))
before = stats()
x[0] = 1
x[1] = 2
after = stats()
print(sorted(before))
print(after["emitted"] - before["emitted"] in (0, 2), after["dropped"], after["paused"])
pause()
print(stats()["paused"] or before["engine"] == "")
resume()
"""
        expected = ("['blocked', 'dropped', 'emitted', 'engine', 'engine_reason', 'kernel_redirects', 'neighbour_traps', "
                    "'paused', 'regions', 'single_steps']\nTrue 0 False\nTrue\n")

        def check(run):
            self.assertEqual(run.stdout.decode(), expected)
            self.assertEqual(len(run.events), 2)

        self.run_all(source, check)


if __name__ == "__main__":
    harness.main()
