"""A container is changed for the variables that hold it at that moment, and a variable knows what it held last."""

import harness
from harness import changes, value


def rules(text):
    return "[[watch]]\n" + text


class Holders(harness.Case):
    """One value, several variables: an event for each that holds it at that moment."""

    settings = {"WATCHER_FIRST_BINDINGS": "skip"}

    RULES = rules('file = "app.py"\nlocal = ["items", "records", "g", "b"]\n')

    def test_a_list_is_changed_for_every_variable_that_holds_it(self):
        source = """\
def fill(items, n):
    items.append(n)
    if n: fill(items, n - 1)
def main():
    records = []
    fill(records, 1)
    records.append(5)
    alias = records
    records = [0]
    alias.append(7)
    return alias
main().append("after")
"""

        def check(run):
            self.assertEqual([(e["variable_name"], e["op"], e["line"], value(e["before"]), value(e["after"])) for e in run.events],
                             [("records", "append", 2, None, 1), ("items", "append", 2, None, 1),
                              ("records", "append", 2, None, 0), ("items", "append", 2, None, 0),
                              ("records", "append", 7, None, 5), ("records", "store", 9, "[1, 0, 5]", "[0]")])

        self.on_all({"app.py": source}, check, config=self.RULES)

    def test_the_old_value_is_what_the_container_held_last(self):
        source = ("def f():\n    records = [1]\n    records.append(2)\n    records = [3]\n    records += [4]\n    del records\n"
                  "    b = bytearray(2)\n    b[0] = 7\n    keep = b\n    b = 5\nf()\n")

        def check(run):
            self.assertEqual(changes([e for e in run.events if e["op"] != "freed"]),
                             [("append", None, 2), ("store", "[1, 2]", "[3]"), ("extend", None, "[4]"), ("store", "[3, 4]", "[3, 4]"),
                              ("delete", "[3, 4]", None), ("write", 0, 7), ("store", "b'\\x07\\x00'", 5)])

        self.on_all({"app.py": source}, check, config=self.RULES)

    def ops(self, source, expected):
        self.on_all({"app.py": source}, lambda run: self.assertEqual([(e["variable_name"], *c) for e, c in zip(run.events, changes(run.events))], expected),
                    config=self.RULES)

    def test_a_local_of_a_thread_that_ended_holds_nothing(self):
        self.ops("import threading\ndef f(items): items.append(1)\nx = []\nt = threading.Thread(target=f, args=(x,))\nt.start(); t.join()\n"
                 "x.append(2)\n", [("items", "append", None, 1)])

    def test_a_local_of_a_generator_that_ended_holds_nothing(self):
        self.ops("def f(items):\n    yield items.append(1)\n    items.append(2)\nx = []\nf(x).send(None)\nx.append(3)\nfor _ in f(x): pass\n"
                 "x.append(4)\nlive, other = f(x), f(x)\nnext(live), next(other)\nx.append(5)\nother.close()\nx.append(6)\nlive.close()\nx.append(7)\n",
                 [("items", "append", None, n) for n in (1, 1, 2, 1, 1, 5, 6)])

    def test_a_closure_variable_holds_its_list_as_long_as_the_closure_lives(self):
        self.ops("def f():\n    records = []\n    def g(): return records\n    return g\ng = f()\nx = g()\nx.append(1)\ng = None\nx.append(2)\n",
                 [("records", "append", None, 1)])

    def test_two_variables_know_what_a_list_held_that_died_with_one_store(self):
        self.ops("def f():\n    records = items = [1]\n    records.append(2)\n    records = items = 3\nf()\n",
                 [("records", "append", None, 2), ("items", "append", None, 2), ("records", "store", "[1, 2]", 3), ("items", "store", "[1, 2]", 3)])

    def test_a_generators_list_is_its_own_while_it_is_suspended(self):
        self.on_all({"app.py": "def gen():\n    g = []\n    while True:\n        g.append(1)\n        yield g\n"
                               "x = gen(); y = next(x); y.append(2); next(x)\n"},
                    lambda run: self.assertEqual(changes(run.events), [("append", None, 1), ("append", None, 2), ("append", None, 1)]),
                    config=self.RULES)


if __name__ == "__main__":
    harness.main()
