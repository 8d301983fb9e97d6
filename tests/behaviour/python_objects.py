"""Changes inside objects: nested containers, attributes, dict subclasses and deques, and the ways around an object's methods."""

import harness
from harness import value

HEAD = "from watcher import watch\n"


def seen(run, name="x"):
    return [(e["op"], e["path"], value(e["before"]), value(e["after"])) for e in run.of(name)]


class Objects(harness.Case):
    def check_events(self, program, expected, **settings):
        self.on_all({"program.py": HEAD + program}, lambda run: self.assertEqual(seen(run), expected), **settings)


class Nesting(Objects):
    def test_a_change_inside_is_a_change_of_the_variable_with_the_whole_path(self):
        self.check_events("""
x = watch({"users": [0, 1, 2, {"name": "a"}]}, name="x")
x["users"][3]["name"] = "b"
x["users"].insert(0, "new")
x["users"][4]["tags"] = []
x["users"][4]["tags"].append(1)
print(x)
""", [
            ("setitem", ["users", 3, "name"], "a", "b"),
            ("insert", ["users", 0], None, "new"),
            ("setitem", ["users", 4, "tags"], None, "[]"),
            ("append", ["users", 4, "tags", 0], None, 1),
        ], users=(None, harness.NOBODY))

    def test_what_is_put_in_is_watched_and_what_is_taken_out_no_more(self):
        self.check_events("""
x = watch([[1], [2]], name="x")
gone = x.pop(0)
gone.append("not seen")
other = {"k": []}
other["before"] = "not seen"
x.extend([other, [3]])
other["k"].append("seen")
x[0:1] = [[4]]
x[0].append(5)
x.clear()
other["k"].append("not seen")
print(type(gone) is list, type(other["k"]) is list, gone, other)
""", [
            ("pop", [0], "[1]", None),
            ("extend", ["1:3"], None, "[{'k': [], 'before': 'not seen'}, [3]]"),
            ("append", [1, "k", 0], None, "seen"),
            ("setitem", ["0:1"], "[[2]]", "[[4]]"),
            ("append", [0, 1], None, 5),
            ("clear", [], "[[4, 5], {'k': ['seen'], 'before': 'not seen'}, [3]]", "[]"),
        ])

    def test_a_shared_part_is_one_event_for_each_variable_and_a_cycle_ends(self):
        self.on_all({"program.py": HEAD + """
shared = []
x = watch({"a": shared, "b": shared}, name="x")
y = watch([shared], name="y")
shared.append(1)
del y
x["me"] = x
x["n"] = 1
x.pop("me")
"""}, lambda run: self.assertEqual([(e["variable_name"], e["op"], e["path"]) for e in run.events],
                                   [("x", "append", ["a", 0]), ("y", "append", [0, 0]), ("y", "delete", []),
                                    ("x", "setitem", ["me"]), ("x", "setitem", ["n"]), ("x", "pop", ["me"])]))

    def test_the_depth_is_an_option(self):
        program = """
x = watch([[[[[1]]]]], name="x")
x.append(1); x[0].append(2); x[0][0].append(3); x[0][0][0].append(4); x[0][0][0][0].append(5)
print(x, type(x[0][0][0][0]) is list)
"""
        for depth, count in (("1", 1), ("2", 2), ("4", 4), ("9", 5)):
            run = self.watched(harness.INTERPRETERS[0][1], self.write({"program.py": HEAD + program}), environment={"WATCHER_DEPTH": depth})
            self.assertEqual([e["after"]["value"] for e in run.of("x")], list(range(1, count + 1)))

    def test_parts_die_when_they_would(self):
        self.on_all({"program.py": HEAD + """
import gc, weakref
class Loud:
    def __init__(self, name): self.name = name
    def __del__(self): print("del", self.name)
def main():
    x = watch({"a": [Loud("first")], "b": {"c": Loud("second")}}, name="x")
    x["a"][0].name = "1st"
    del x["a"]
    x["b"]["c"] = None
    x["self"] = x
    x["loud"] = Loud("in a cycle")
    return weakref.ref(x["loud"])
gone = main()
gc.collect()
print(gone())
for i in range(2000):  # addresses are used again
    again = Loud(i); again.name = None; again = [i]; again.append(1)
"""}, lambda run: self.assertEqual([(e["op"], e["path"]) for e in run.of("x")],
                                   [("setattr", ["a", 0, "name"]), ("delitem", ["a"]), ("setitem", ["b", "c"]), ("setitem", ["self"]),
                                    ("setitem", ["loud"])]))


class Attributes(Objects):
    def test_attributes_of_instances_slots_classes_and_modules(self):
        self.check_events("""
import dataclasses, types
@dataclasses.dataclass
class Point:
    x: int
    tags: list = dataclasses.field(default_factory=list)
    def __repr__(self): raise AssertionError("the host's __repr__ must not run")
class Slotted:
    __slots__ = ("a", "b")
class Base:
    def __init__(self): self.kept = 0
class Worker(Base):
    instances = 0
x = watch(Point(1), name="x")
x.x = 2; x.tags.append("t"); x.new = {"k": 1}; x.new["k"] = 2; del x.new
x = watch(Slotted(), name="x")
x.a = 1; x.a += 1; x.b = []; x.b.append(1); del x.a
x = watch(Worker(), name="x")
x.kept = 1; setattr(x, "s", 1); object.__setattr__(x, "s", 2); x.__dict__["d"] = 3; vars(x).update(s=4)
Worker().kept = "not seen"
x = watch(Worker, name="x")
Worker.instances += 1; Worker.log = []; Worker.log.append(1); del Worker.log
x = watch(types.SimpleNamespace(n=1), name="x")
x.n = 2; x.l = []; x.l.append(3)
x = watch(types.ModuleType("m"), name="x")
x.n = 1; del x.n
x = watch(ValueError("v"), name="x")
x.note = 1
""", [
            ("setattr", ["x"], 1, 2), ("append", ["tags", 0], None, "t"), ("setattr", ["new"], None, "{'k': 1}"),
            ("setitem", ["new", "k"], 1, 2), ("delattr", ["new"], "{'k': 2}", None),
            ("setattr", ["a"], None, 1), ("setattr", ["a"], 1, 2), ("setattr", ["b"], None, "[]"), ("append", ["b", 0], None, 1),
            ("delattr", ["a"], 2, None),
            ("setattr", ["kept"], 0, 1), ("setattr", ["s"], None, 1), ("setattr", ["s"], 1, 2), ("setitem", ["d"], None, 3),
            ("update", ["s"], 2, 4),
            ("setattr", ["instances"], 0, 1), ("setattr", ["log"], None, "[]"), ("append", ["log", 0], None, 1), ("delattr", ["log"], "[1]", None),
            ("setattr", ["n"], 1, 2), ("setattr", ["l"], None, "[]"), ("append", ["l", 0], None, 3),
            ("setattr", ["n"], None, 1), ("delattr", ["n"], 1, None),
            ("setattr", ["note"], None, 1),
        ])

    def test_overrides_properties_and_descriptors_store_where_they_store(self):
        self.check_events("""
import dataclasses
class Checked:
    def __setattr__(self, name, value):
        print("set", name)
        super().__setattr__(name, value)
    @property
    def n(self): print("get"); return self._n
    @n.setter
    def n(self, value): self._n = value
class ByDict:
    def __setattr__(self, name, value): self.__dict__[name] = value
class Field:
    def __set__(self, owner, value): owner.__dict__["f"] = value
class Described:
    f = Field()
@dataclasses.dataclass(frozen=True)
class Frozen:
    v: int
x = watch(Checked(), name="x")
x.n = 1; x.other = 2; del x.other
x = watch(ByDict(), name="x")
x.n = 3
x = watch(Described(), name="x")
x.f = 4
x = watch(Frozen(1), name="x")
object.__setattr__(x, "v", 5)
for bad in (lambda: setattr(x, "v", 6), lambda: setattr(x, 1, 1), lambda: object.__setattr__(x), lambda: object.__setattr__(1, "a", 1),
            lambda: object.__setattr__(Frozen, "a", 1), lambda: type.__setattr__(x, "a", 1), lambda: delattr(x, "none")):
    try:
        bad()
    except Exception as error:
        print(type(error).__name__, error)
""", [
            ("setattr", ["_n"], None, 1), ("setattr", ["other"], None, 2), ("delattr", ["other"], 2, None),
            ("setitem", ["n"], None, 3), ("setitem", ["f"], None, 4), ("setattr", ["v"], 1, 5),
        ])

    def test_an_object_stays_what_it_is(self):
        self.on_all({"program.py": HEAD + """
import copy, pickle, sys, weakref
from collections import Counter, OrderedDict, defaultdict, deque
class Plain:
    kind = "plain"
    def __init__(self): self.items = [1]
class Slotted:
    __slots__ = ("a", "__weakref__")
class Stack(list):
    pass
values = [Plain(), Slotted(), Stack([1]), Counter("aab"), OrderedDict(a=[1]), defaultdict(list, k=[1]), deque([1, [2]], 5), Plain]
for v in values:
    kind, before = type(v), sys.getrefcount(v)
    x = watch(v, name="x")
    print(type(x) is kind, x.__class__ is kind, sys.getrefcount(v) - before, dir(x) == dir(v), weakref.getweakrefcount(v))
    if kind is not type:
        print(type(copy.copy(x)) is kind, type(copy.deepcopy(x)) is kind, vars(kind).keys() == vars(type(copy.copy(x))).keys())
        if kind is not Slotted:
            print([type(pickle.loads(pickle.dumps(x, p))) is kind for p in range(pickle.HIGHEST_PROTOCOL + 1)])
class Later(Plain):
    def __del__(self): print("del", self.items)
later = Later()
later.kind = 1
del later
"""}, lambda run: None)


class Collections(Objects):
    def test_each_mutator_of_a_deque(self):
        self.check_events("""
from collections import deque
x = watch(deque([1, [2]]), name="x")
x.append(3); x.appendleft(0); x[2].append(9); x.rotate(1); x.popleft(); x.pop(); x[0] = 5; del x[0]
x.extend([7]); x.extendleft([6]); x.insert(1, 8); x.remove(8); x.reverse(); x.clear()
try:
    x.pop()
except IndexError as error:
    print(error)
x = watch(deque([1], 1), name="x")
x.append(2)
""", [
            ("append", [2], None, 3), ("appendleft", [0], None, 0), ("append", [2, 1], None, 9),
            ("rotate", [], "deque([0, 1, [2, 9], 3])", "deque([3, 0, 1, [2, 9]])"), ("popleft", [0], 3, None), ("pop", [2], "[2, 9]", None),
            ("setitem", [0], 0, 5), ("delitem", [0], 5, None), ("extend", [], "deque([1])", "deque([1, 7])"),
            ("extendleft", [], "deque([1, 7])", "deque([6, 1, 7])"), ("insert", [], "deque([6, 1, 7])", "deque([6, 8, 1, 7])"),
            ("remove", [], "deque([6, 8, 1, 7])", "deque([6, 1, 7])"), ("reverse", [], "deque([6, 1, 7])", "deque([7, 1, 6])"),
            ("clear", [], "deque([7, 1, 6])", "deque([])"), ("append", [], "deque([1])", "deque([2])"),
        ])

    def test_subclasses_of_dict_and_list(self):
        self.check_events("""
from collections import Counter, OrderedDict, defaultdict
x = watch(OrderedDict(a=1), name="x")
x["b"] = [1]; x["b"].append(2); x.move_to_end("a"); x.pop("a"); x.update(z=1); x.setdefault("k", 5); x.popitem(); del x["z"]
x = watch(defaultdict(list), name="x")
x["k"].append(1); x["k"].append(2); x.pop("k"); x.update(a=1)
x = watch(Counter("ab"), name="x")
x["a"] += 1; x.update("a"); x.subtract("b"); del x["b"]
class Stack(list):
    def push(self, item): self.append(item)
class Config(dict):
    def __setitem__(self, key, value): super().__setitem__(key, value)
x = watch(Stack(), name="x")
x.push([1]); x[0].append(2); x[0] = 3; x.note = 4; x += [5]
x = watch(Config(), name="x")
x["k"] = 1; x.update(k=2); x.pop("k")
""", [
            ("setitem", ["b"], None, "[1]"), ("append", ["b", 1], None, 2), ("move_to_end", ["a"], 1, 1), ("pop", ["a"], 1, None),
            ("setitem", ["z"], None, 1), ("setdefault", ["k"], None, 5), ("popitem", ["k"], 5, None), ("delitem", ["z"], 1, None),
            ("setitem", ["k"], None, "[]"), ("append", ["k", 0], None, 1), ("append", ["k", 1], None, 2), ("pop", ["k"], "[1, 2]", None),
            ("update", ["a"], None, 1),
            ("setitem", ["a"], 1, 2), ("update", ["a"], 2, 3), ("setitem", ["b"], 1, 0), ("delitem", ["b"], 0, None),
            ("append", [0], None, "[1]"), ("append", [0, 1], None, 2), ("setitem", [0], "[1, 2]", 3), ("setattr", ["note"], None, 4),
            ("extend", ["1:2"], None, "[5]"), ("store", [], "[3, 5]", "[3, 5]"),
            ("setitem", ["k"], None, 1), ("update", ["k"], 1, 2), ("pop", ["k"], 2, None),
        ])


class Bypasses(Objects):
    def test_unbound_dunders_and_heapq_are_seen(self):
        self.check_events("""
import heapq
x = watch([3, 1], name="x")
heapq.heapify(x); heapq.heappush(x, 0); heapq.heappop(x)
list.__setitem__(x, 0, 5); list.__delitem__(x, 0)
x = watch({}, name="x")
dict.__setitem__(x, "k", 1); dict.__delitem__(x, "k")
print(x)
""", [
            ("change", [], "[3, 1]", "[1, 3]"), ("change", [], "[1, 3]", "[0, 3, 1]"), ("change", [], "[0, 3, 1]", "[1, 3]"),
            ("setitem", [0], 1, 5), ("delitem", [0], 5, None),
            ("setitem", ["k"], None, 1), ("delitem", ["k"], 1, None),
        ])

    def test_what_c_code_did_to_a_dict_is_exact_from_3_12_and_noticed_before(self):
        def check(run):
            events = [(e["op"], e["path"], e["exact"], value(e["after"])) for e in run.of("x")]
            exact = [("setitem", ["k"], True, 1), ("setitem", ["n"], True, 2)]
            noticed = [("change", [], False, "{'k': 1}"), ("setitem", ["n"], True, 2)]
            self.assertIn(events, (exact, noticed))

        self.on_all({"program.py": HEAD + """
import ctypes
x = watch({}, name="x")
ctypes.pythonapi.PyDict_SetItem(ctypes.py_object(x), ctypes.py_object("k"), ctypes.py_object(1))
x["n"] = 2
"""}, check)

    def test_an_item_that_c_code_stored_is_what_was_there_before(self):
        def check(run):
            last = run.of("x")[-1]
            self.assertEqual((last["op"], last["path"], value(last["before"]), value(last["after"])), ("setitem", ["k"], 8, 9))

        self.on_all({"program.py": HEAD + """
import ctypes
x = watch({}, name="x")
for stored in 1, 2:
    x["k"] = stored
ctypes.pythonapi.PyDict_SetItem(ctypes.py_object(x), ctypes.py_object("k"), ctypes.py_object(8))
x["k"] = 9
"""}, check)

    def test_known_limit_unbound_methods_of_a_list_are_noticed_by_its_size_at_the_next_change(self):
        def check(run):
            self.assertEqual([(e["op"], e["path"], e["exact"], value(e["after"])) for e in run.of("x")],
                             [("change", [], False, "[2, 1, 3]"), ("append", [3], True, 4), ("append", [4], True, 5)])

        self.on_all({"program.py": HEAD + """
x = watch([2, 1], name="x")
list.append(x, 3)
x.append(4)
list.sort(x)  # not seen: the size is the same
x.append(5)
"""}, check)


class Fidelity(Objects):
    def test_a_recursive_set_pickles_and_its_types_methods_take_plain_objects(self):
        self.on_all({"program.py": HEAD + """
import copy, pickle
class Member:
    def __hash__(self): return 1
m = Member()
x = watch({m}, name="x")
m.owner = x
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    try:
        (again,) = loaded = pickle.loads(pickle.dumps(x, protocol))
        print(type(loaded), protocol < 4 or again.owner is loaded)
    except RecursionError:
        print(set, True)  # a plain one may
print(type(copy.copy(x)))
x, plain = watch([1], name="x"), [5]
type(x).__setitem__(plain, 0, 6); type(x).append(plain, 7); print(plain)
for bad in (lambda: type(x).append({}, 1), lambda: type(x).__setitem__({}, 0, 1)):
    try:
        bad()
    except TypeError as error:
        print(error)
"""}, lambda run: None)

    def test_naming_a_task_may_run_code_that_changes_what_the_event_is_about(self):
        def check(run):
            told = [(e["variable_name"], e["op"], e["path"], value(e["after"])) for e in run.events
                    if e["variable_name"] in ("box", "inner", "text")]
            self.assertEqual(sorted(told[3:], key=str), sorted([
                ("inner", "append", [0], "w\u00f6rd"), ("box", "append", ["list", 0], "w\u00f6rd"),
                ("box", "store", [], None),
                ("inner", "append", [1], "w\u00f6rd"),
                ("text", "store", [], "\u00f6ther" * 40), ("text", "store", [], "t\u00e4sk's"),
            ], key=str))
            self.assertEqual(len(run.of("many")), 301)

        self.on_all({"program.py": """
import asyncio, gc
box, many, text = {"list": []}, [], ""
inner = box["list"]
class Named(asyncio.Task):
    def get_name(self):
        mine, self.mine = self.mine, None
        if mine is not None: mine()
        return super().get_name()
def crowd():  # the table of what is watched moves
    for i in range(300): many.append({"i": i})
def part():
    global box
    box = None
    gc.collect()
def rewrite():
    global text
    text = "\u00f6ther" * 40
async def append():
    inner.append("w\u00f6rd")
async def bind():
    global text
    text = "t\u00e4sk's"
async def main():
    for work, mine in ((append, crowd), (append, part), (bind, rewrite)):
        task = Named(work(), loop=asyncio.get_event_loop())
        task.mine = mine
        await task
asyncio.run(main())
print(inner)
"""}, check, config='depth = 4\ntrack_threads = true\n[[watch]]\nfile = "program.py"\nglobal = ["box", "inner", "many", "text"]\n')


if __name__ == "__main__":
    harness.main()
