"""Rules that name attributes of globals: only these are recorded, under their own name."""

import harness
from harness import value

CONFIG = """\
class Config:
    retries = 0
    def __init__(self, n):
        self.retries = n
        self.items = []
        self.other = 1
"""


def shown(side):
    return "an object" if str(value(side)).startswith("<__main__.Config") else value(side)


class AttributePaths(harness.Case):
    def expect(self, names, source, expected, terms=""):
        config = f'[[watch]]\nfile = "app.py"\nglobal = {names}\n{terms}\n'.replace("'", '"')
        self.on_all({"app.py": source, "settings.py": "retries = 1\nother = 2\n"}, lambda run: self.assertEqual(
            [(e["variable_name"], e["op"], e["path"], value(e["before"]), shown(e["after"]), e["line"]) for e in run.events],
            expected), config=config)

    def test_only_that_attribute_and_only_where_it_changes(self):
        source = CONFIG + """\
config = Config(3)
config.other = 2
config.retries = 4
config.items.append(1)
def f():
    global config
    config.retries += 1
    config = Config(5)
    config = Config(6)
    del config.retries
    config.other = 3
f()
config = None
"""
        self.expect(["config.retries"], source, [
            ("config.retries", "store", [], None, 3, 7), ("config.retries", "store", [], 3, 4, 9),
            ("config.retries", "store", [], 4, 5, 13), ("config.retries", "store", [], 5, 6, 15),
            ("config.retries", "delete", [], 6, None, 16)])

    def test_a_class_attribute_a_nested_one_and_a_pattern(self):
        source = CONFIG + """\
from types import SimpleNamespace as N
class Worker:
    instances = 0
    def __init__(self):
        Worker.instances += 1
Worker()
ns = N(db=N(host="a"))
ns.db.host = "b"
ns.db = N(host="c")
ns.db.host = "d"
ns.db.port = 3
config = Config(3)
config.items.append(1)
config.items = [2]
config.items.append(3)
"""
        self.expect(["Worker.instances", "ns.db.host", "config.it*"], source, [
            ("Worker.instances", "store", [], None, 0, 8), ("Worker.instances", "store", [], 0, 1, 11),
            ("ns.db.host", "store", [], None, "a", 13), ("ns.db.host", "store", [], "a", "b", 14),
            ("ns.db.host", "store", [], "b", "c", 15), ("ns.db.host", "store", [], "c", "d", 16),
            ("config.items", "store", [], None, "[]", 18), ("config.items", "append", [0], None, 1, 19),
            ("config.items", "store", [], "[1]", "[2]", 20), ("config.items", "append", [1], None, 3, 21)])

    def test_a_module_is_an_object_too(self):
        source = "import settings\nsettings.retries = 5\nsettings.other = 6\nsetattr(settings, 'retries', 7)\n"
        self.expect(["settings.retries"], source, [
            ("settings.retries", "store", [], None, 1, 1), ("settings.retries", "store", [], 1, 5, 2),
            ("settings.retries", "store", [], 5, 7, 4)])

    def test_the_object_itself_may_be_watched_beside_it(self):
        source = CONFIG + "config = Config(3)\nconfig.retries = 4\nconfig.other = 5\n"
        self.expect(["config.retries", "config"], source.replace("self.items = []", "pass"), [
            ("config.retries", "store", [], None, 3, 7), ("config", "store", [], None, "an object", 7),
            ("config", "setattr", ["retries"], 3, 4, 8), ("config.retries", "store", [], 3, 4, 8),
            ("config", "setattr", ["other"], 1, 5, 9)])

    def test_conditions_hold_for_the_attribute(self):
        source = CONFIG + "config = Config(3)\nconfig.retries = 4\nconfig.retries = 9\n"
        self.expect(["config.retries"], source, [("config.retries", "store", [], 4, 9, 9)], terms='when = "new > 5"')


if __name__ == "__main__":
    harness.main()
