"""The end of watched objects, however it comes: nothing of the host's runs while it is told, and none is missed."""

import harness
from harness import changes

RULES = '[[watch]]\nfile = "app.py"\nboth = ["*"]\n'


class ObjectEnds(harness.Case):
    def test_a_collection_that_is_due_waits_until_the_end_is_told(self):
        source = """\
import gc
def rounds(n):
    for i in range(n):
        # behind the last look at what is due, the sets ask for a collection: objects end under it
        x = [object(), object()]
        x = ({i}, {i}, {i})[0]
        x = {"k": object()}
        x = ({i}, {i}, {i})[0]
        x = {object()}
        x = ({i}, {i}, {i})[0]
        x = RuntimeError(object())
        x = ({i}, {i}, {i})[0]
gc.set_threshold(1)
rounds(300)
gc.set_threshold(700)
print("end")
"""
        self.on_all({"app.py": source}, lambda run: self.assertEqual(len(run.of("x")), 2400), config=RULES)

    def test_a_signal_handlers_exception_reaches_the_program(self):
        source = """\
import signal
class Alarm(Exception): pass
class Item: pass
def ring(*_): raise Alarm
def store(items):
    while True: x = list(items)
signal.signal(signal.SIGALRM, ring)
items = [Item() for _ in range(30)]
caught = 0
for _ in range(100):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        store(items)
    except Alarm:
        caught += 1
print(caught)
"""
        self.on_all({"app.py": source}, lambda run: self.assertTrue(run.of("x")), config=RULES)

    def test_finalizers_that_come_late(self):
        source = """\
import gc
ended = []
def first_watched_in_its_own():
    class Late:
        def __del__(self):
            w = self
            w.x = 1
            ended.append(w.x)
    x = [Late()]
    x = None
def given_afterwards():
    class Gets: pass
    x = Gets()
    Gets.__del__ = lambda self: ended.append(self.a)
    x.a = 2
    x = None
def by_another_base():
    class Base: pass
    class Other(Base):
        def __del__(self): ended.append(3)
    class Gets(Base): pass
    x = Gets()
    Gets.__bases__ = (Other,)
    x = None
    x = Gets()
    Gets.__bases__ = (Base,)
    x.b = 4
    x = None
for i in range(500):
    first_watched_in_its_own()
    given_afterwards()
    by_another_base()
    others = [[i] for i in range(i % 40)]
    if i % 100 == 0: gc.collect()
print(len(ended), set(ended))
"""
        self.on_all({"app.py": source}, lambda run: self.assertEqual(
            len([e for e in run.of("x") if e["path"] == ["b"]]), 500), config=RULES)

    def test_long_chains(self):
        source = """\
import collections
class Mine(RuntimeError): pass
def chain(kind, n):
    head = None
    for i in range(n):
        new = kind()
        if isinstance(new, dict): new["next"] = head
        else: new.__context__ = head
        head = new
for kind in (RuntimeError, Mine, MemoryError, collections.OrderedDict):
    x = kind()
    chain(kind, 100000)
    print(kind.__name__)
"""
        rules = '[[watch]]\nfile = "app.py"\nboth = ["x"]\n'
        self.on_all({"app.py": source}, lambda run: self.assertEqual(len(run.of("x")), 4), config=rules)

    def test_a_class_made_after_its_base_was_watched_is_followed_too(self):
        source = """\
class Base:
    def __init__(self): self.n = 0
x = Base()
class Derived(Base): pass
y = Derived()
y.n = 7
"""
        self.on_all({"app.py": source}, lambda run: self.assertEqual(
            [c for e, c in zip(run.of("y"), changes(run.of("y"))) if e["path"]], [("setattr", 0, 7)]), config=RULES)

    def test_generators_that_end_with_their_variables(self):
        source = """\
import gc
def generate(n):
    x = []
    try:
        while True: yield x
    finally:
        x.append(n)
        y = x = [n]
def run(n):
    for i in range(n):
        some = [generate(i) for _ in range(5)]
        for one in some: next(one).append(i)
        some = None
run(200)
print("end")
"""
        self.on_all({"app.py": source}, lambda run: self.assertEqual(
            len([e for e in run.of("x") if e["op"] == "append"]), 2000), config=RULES)

    def test_compiling_with_hooks_warns_of_nothing(self):
        source = """\
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import app_part
v = app_part.f(1)
print(v)
"""
        part = "def f(x):\n    y = x\n    if y: return y\n"
        rules = RULES + '[[watch]]\nfile = "app_part.py"\nboth = ["*"]\n'
        self.on_all({"app.py": source, "app_part.py": part}, lambda run: self.assertTrue(run.of("y")), config=rules)

    def test_patterns_that_the_collector_has_cleared(self):
        source = """\
import gc, re
class Cycle: pass
def f():
    v = [re.compile("a+"), Cycle()]
    v[1].back, v[1].pattern = v, v[0]
    x = {"v": v}
    x["x"] = x
for _ in range(20):
    f()
    gc.collect()
v = {"p": re.compile("b+")}
v["v"] = [v]
print("end")
"""
        self.on_all({"app.py": source}, lambda run: self.assertTrue(run.of("v")), config=RULES)

    maxDiff = None

    def test_what_is_described_without_the_interpreters_help(self):
        source = """\
import datetime as d, re
zone = d.timezone(d.timedelta(hours=1), "x")
def shown():
    for v in [range(3), range(1, 10, 2), range(True), re.compile("a'b"), re.compile(b"x", re.I | re.S), re.compile("x", re.A | re.M),
              re.match("a+(b)", "aab c"), re.search(b"x", b"yx"), d.timezone.utc, d.timezone(d.timedelta(hours=-3)),
              d.timezone(d.timedelta(0), "zero"), zone, d.datetime(2024, 2, 29), d.datetime(2024, 2, 29, 12, 1, 2, 3, tzinfo=zone),
              d.datetime(2024, 2, 29, 12, fold=1, tzinfo=d.timezone.utc), d.time(1, tzinfo=zone), d.time(1, 2, 3)]:
        print(repr(v))
shown()
"""
        self.on_all({"app.py": source}, lambda run: self.assertEqual(
            [e["after"]["repr"] for e in run.of("v")], run.stdout.decode().splitlines()), config=RULES)


if __name__ == "__main__":
    harness.main()
