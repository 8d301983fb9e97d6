"""The first steps: the guide's examples, and names that are bound once."""

import harness
from harness import changes, value

USERS = (None, harness.NOBODY)


def rules(text):
    return "[[watch]]\n" + text


class GuideExamples(harness.Case):
    EXAMPLES = harness.pathlib.Path(__file__).parents[2] / "examples" / "python"

    def test_counter_gives_ten_events_with_values_function_line_and_deltas(self):
        source = (self.EXAMPLES / "counter.py").read_text()
        line = 1 + source.splitlines().index(next(text for text in source.splitlines() if "counter = counter + 1" in text))

        def check(run):
            self.assertEqual(changes(run.events), [("store", i, i + 1) for i in range(10)])
            for i, event in enumerate(run.events):
                self.assertEqual((event["function"], event["line"], event["scope"]), ("main", line, "local"))
                self.assertEqual(event["deltas"], [{"offset": 0, "before": hex(i), "after": hex(i + 1)}])
                self.assertTrue(event["file"].endswith("counter.py"))
                self.assertEqual(event["variable_name"], "counter")
                self.assertTrue(event["exact"])
            self.assertEqual(len({event["event_id"] for event in run.events}), 10)
            self.assertEqual(run.summary["written"], 10)

        self.on_all({"counter.py": source}, check, users=USERS, preload=(False, True))

    def test_the_initial_binding_is_an_event_when_asked_for(self):
        source = (self.EXAMPLES / "counter.py").read_text()

        def check(run):
            self.assertEqual(changes(run.events)[:2], [("init", None, 0), ("store", 0, 1)])
            self.assertEqual(len(run.events), 11)

        self.on_all({"counter.py": source}, check, options=["--record-init"])

    def test_two_appends_and_three_stores_are_five_events(self):
        source = (self.EXAMPLES / "data_processor.py").read_text()

        def check(run):
            seen = [(e["variable_name"], e["op"], e["path"], value(e["before"]), value(e["after"])) for e in run.events]
            self.assertEqual(seen, [
                ("records", "append", [0], None, "{'id': 1, 'value': 'data1'}"),
                ("records", "append", [1], None, "{'id': 2, 'value': 'data2'}"),
                ("state", "setitem", ["status"], "init", "processing"),
                ("state", "setitem", ["count"], 0, 2),
                ("state", "setitem", ["timestamp"], None, 1706000000),
            ])
            self.assertTrue(all(event["deltas"] for event in run.events))

        self.on_all({"data_processor.py": source}, check, users=USERS)

    def test_the_database_example_runs_and_records_its_state(self):
        source = (self.EXAMPLES / "db_app.py").read_text()

        def check(run):
            self.assertEqual([(e["path"], value(e["after"])) for e in run.events],
                             [(["queries"], 1), (["queries"], 2), (["rows_affected"], 1), (["queries"], 3)])

        self.on_all({"db_app.py": source}, check)

    def test_the_database_example_tells_the_statements_when_asked(self):
        source = (self.EXAMPLES / "db_app.py").read_text()

        def check(run):
            created, inserted = "CREATE TABLE users (id INTEGER, name TEXT)", "INSERT INTO users VALUES (1, 'Alice')"
            self.assertEqual([(e["path"], e["sql_context"] and e["sql_context"]["statement"]) for e in run.events],
                             [(["queries"], None), (["queries"], created), (["rows_affected"], inserted),
                              (["queries"], inserted)])
            self.assertEqual({e["thread_name"] for e in run.events}, {"MainThread"})

        self.on_all({"db_app.py": source}, check, options=["--track-sql", "--track-threads"])

    def test_the_complete_example_gives_a_hundred_totals_and_fifty_appends(self):
        source = (self.EXAMPLES / "total.py").read_text()

        def check(run):
            self.assertEqual(changes(run.of("total")), [("store", i, i + 1) for i in range(100)])
            self.assertEqual([(e["op"], e["path"], value(e["after"])) for e in run.of("processed")],
                             [("append", [i], 2 * i) for i in range(50)])
            self.assertEqual(len(run.events), 150)

        self.on_all({"total.py": source}, check)


class FirstBindings(harness.Case):
    """A name from a rule is watched before it is bound: its first binding is a store, from unbound."""

    def test_names_bound_once_are_events_too(self):
        source = """\
import contextlib
top = 0
def f(a, *b, c=3, **d):
    with contextlib.nullcontext(4) as e:
        pass
    for g in (5,):
        pass
    try:
        raise KeyError(6)
    except KeyError as h:
        pass
    (i, j) = 7, 8
    if (k := 9): pass
    def l(): pass
    import json as m
    return (lambda n: n)(10)
f(1, 2, z=0)
f(11)
"""
        names = [letter for letter in "abcdeghijklmn"]

        def check(run):
            first = [(e["variable_name"], e["line"], value(e["before"])) for e in run.events]
            lines = dict(zip(names, (3, 3, 3, 3, 4, 6, 10, 12, 12, 13, 14, 15, 16)))
            order = [name for name in ("a", "c", "b", "d") + tuple(names[4:])]
            self.assertEqual(first, [("top", 2, None)] + [(name, lines[name], None) for name in order] * 2)
            self.assertEqual({e["op"] for e in run.events}, {"store"})
            self.assertEqual([value(e["after"]) for e in run.of("a")], [1, 11])
            self.assertEqual([value(e["after"]) for e in run.of("n")], [10, 10])

        self.on_all({"app.py": source}, check, config=rules(f'file = "app.py"\nlocal = {names!r}\nglobal = ["top"]\n'.replace("'", '"')))

    def test_they_may_be_left_out_or_shown_as_initial_states(self):
        source = "def f():\n    v = 0\n    v = 1\nf()\n"
        for options, expected in (([], [("store", None, 0), ("store", 0, 1)]),
                                  (["--first-bindings", "skip"], [("store", 0, 1)]),
                                  (["--first-bindings", "skip", "--record-init"], [("init", None, 0), ("store", 0, 1)])):
            self.on_all({"app.py": source}, lambda run: self.assertEqual(changes(run.events), expected),
                        config=rules('file = "app.py"\nlocal = ["v"]\n'), options=options)


if __name__ == "__main__":
    harness.main()
