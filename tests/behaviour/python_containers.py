"""Lists, dicts and sets that are watched in place: every mutator, and a host that cannot tell the difference."""

import harness
from harness import value

HEAD = "from watcher import watch\n"


def seen(run, name="x"):
    return [(e["op"], e["path"], value(e["before"]), value(e["after"])) for e in run.of(name)]


class Mutators(harness.Case):
    def check_events(self, program, expected):
        self.on_all({"program.py": HEAD + program}, lambda run: self.assertEqual(seen(run), expected),
                    users=(None, harness.NOBODY))

    def test_each_mutator_of_a_list_is_one_event_with_its_place_and_values(self):
        self.check_events("""
x = watch([3, 1], name="x")
x.append(2)
x[0] = 7
x[-1] = 9
x.insert(-1, "s")
x.remove(1)
x.pop(); x.pop(0)
x.extend([4, 5])
x[0:2] = [6]
del x[0]
x.sort(reverse=True)
x.reverse()
x.clear()
print(x)
""", [
            ("append", [2], None, 2),
            ("setitem", [0], 3, 7),
            ("setitem", [2], 2, 9),
            ("insert", [2], None, "s"),
            ("remove", [1], 1, None),
            ("pop", [2], 9, None),
            ("pop", [0], 7, None),
            ("extend", ["1:3"], None, "[4, 5]"),
            ("setitem", ["0:2"], "['s', 4]", "[6]"),
            ("delitem", [0], 6, None),
            ("sort", [], "[5]", "[5]"),
            ("reverse", [], "[5]", "[5]"),
            ("clear", [], "[5]", "[]"),
        ])

    def test_in_place_operators_of_a_list_are_mutations(self):
        self.check_events("""
def main():
    x = [1]
    watch(x, name="x")
    y = x
    y += (2,)
    y *= 2
    for y[0] in (8, 9):
        pass
    print(x, y is x)
main()
""", [
            ("extend", ["1:2"], None, "[2]"),
            ("imul", [], "[1, 2]", "[1, 2, 1, 2]"),
            ("setitem", [0], 1, 8),
            ("setitem", [0], 8, 9),
        ])

    def test_what_changed_before_an_error_is_recorded_and_the_error_stays(self):
        self.check_events("""
x = watch([1], name="x")
def broken():
    yield 2
    raise KeyError("host")
try:
    x.extend(broken())
except KeyError as error:
    print(error)
for bad in (lambda: x.pop(9), lambda: x.remove(9), lambda: x.insert(), lambda: x.sort(key=1)):
    try:
        bad()
    except Exception as error:
        print(type(error), error)
print(x)
""", [("extend", ["1:2"], None, "[2]")])

    def test_code_that_runs_inside_a_mutator_may_mutate_the_same_list(self):
        self.check_events("""
x = watch([1], name="x")
def nested():
    yield 2
    x.append(3)
x.extend(nested())
class Index:
    def __index__(self):
        print("once")
        return -1
x[Index()] = 4
print(x)
""", [
            ("append", [2], None, 3),
            ("extend", [], "[1]", "[1, 2, 3]"),
            ("setitem", [2], 3, 4),
        ])

    def test_each_mutator_of_a_dict_is_one_event_a_key(self):
        self.check_events("""
x = watch({"a": 1}, name="x")
x["a"] = 2
x[5] = None
x[("t", 1)] = "tuple"
del x["a"]
x.setdefault("new", [1])
x.setdefault("new", [2])
x.pop(5); x.pop(5, None)
x.update({"u": 1}, v=2)
x.update([("u", 3)])
print(x.popitem())
x.clear()
print(x)
""", [
            ("setitem", ["a"], 1, 2),
            ("setitem", [5], None, None),
            ("setitem", ["('t', 1)"], None, "tuple"),
            ("delitem", ["a"], 2, None),
            ("setdefault", ["new"], None, "[1]"),
            ("pop", [5], None, None),
            ("update", ["u"], None, 1),
            ("update", ["v"], None, 2),
            ("update", ["u"], 1, 3),
            ("popitem", ["v"], 2, None),
            ("clear", [], "{('t', 1): 'tuple', 'new': [1], 'u': 3}", "{}"),
        ])

    def test_what_an_item_was_is_known_whoever_stored_it(self):
        self.check_events("""
x = watch({}, name="x")
for i in 1, 2:
    x["k"] = i
x.update(k=5)
x["".join(["k"])] = 3
del x["k"]
x["k"] = 4
for value in 6, 7:
    x[value > 6] = value
    x[1] = value
print(x)
""", [("setitem", ["k"], None, 1), ("setitem", ["k"], 1, 2), ("update", ["k"], 2, 5), ("setitem", ["k"], 5, 3), ("delitem", ["k"], 3, None),
      ("setitem", ["k"], None, 4), ("setitem", ["False"], None, 6), ("setitem", [1], None, 6), ("setitem", ["True"], 6, 7), ("setitem", [1], 7, 7)])

    def test_a_key_is_hashed_and_compared_as_often_as_ever(self):
        def check(run):
            self.assertEqual([(op, before, after) for op, _, before, after in seen(run)],
                             [("setitem", None, 1), ("setitem", 1, 2), ("setitem", None, 3), ("delitem", 3, None)])
            self.assertEqual([event["exact"] for event in run.of("x")], [True, True, False, True])

        self.on_all({"program.py": HEAD + """
class Key:
    def __init__(self, name): self.name = name
    def __hash__(self): print("hash", self.name); return 1
    def __eq__(self, other): print("eq", self.name, other.name); return True
    def __repr__(self): print("repr must not run")
a, b = Key("a"), Key("b")
x = watch({}, name="x")
x[a] = 1
x[a] = 2
x[b] = 3
del x[b]
"""}, check)

    def test_each_mutator_of_a_set_is_one_event_an_element(self):
        self.check_events("""
x = watch({1}, name="x")
x.add("e"); x.add("e")
x.discard(9); x.discard(1)
x.remove("e")
x.update([2])
y = x
y |= {3}
y &= {3}
y -= {3}
y ^= {4}
print(x.pop())
x.clear()
""", [
            ("add", ["e"], None, "e"),
            ("add", ["e"], "e", "e"),
            ("discard", ["1"], 1, None),
            ("remove", ["e"], "e", None),
            ("update", ["2"], None, 2),
            ("update", ["3"], None, 3),
            ("intersection_update", ["2"], 2, None),
            ("difference_update", ["3"], 3, None),
            ("symmetric_difference_update", ["4"], None, 4),
            ("pop", ["4"], 4, None),
            ("clear", [], "set()", "set()"),
        ])

    def test_an_update_that_adds_nothing_but_rearranges_tells_both_orders(self):
        self.check_events("""
x = watch({8, 0, 16}, name="x")
print(x)
x.update({0, 8, 16})
print(x)
x.update([])
""", [("update", [], "{8, 0, 16}", "{0, 16, 8}"), ("update", [], "{0, 16, 8}", "{0, 16, 8}")])

    def test_events_name_function_line_and_thread(self):
        def check(run):
            self.assertEqual([(e["function"].split(".")[-1], e["line"], e["path"]) for e in run.of("x")],
                             [("store", 4, ["k"]), ("<module>", 8, ["m"])])
            self.assertNotEqual(*[e["thread_id"] for e in run.of("x")])

        self.on_all({"program.py": HEAD + """import threading
def store(d):
    d["k"] = 1
x = watch({}, name="x")
thread = threading.Thread(target=store, args=(x,))
thread.start(); thread.join()
x["m"] = 2
"""}, check)


class Transparency(harness.Case):
    def test_a_watched_container_looks_and_copies_like_a_plain_one(self):
        self.on_all({"program.py": HEAD + """
import copy, gc, json, pickle, sys
l, d, s = watch([1, [2]], name="l"), watch({"a": {"b": 1}}, name="d"), watch({1, 2}, name="s")
for x in (l, d, s):
    print(repr(x), type(x).__name__, type(x).__module__, x.__class__, type(x), sys.getsizeof(x), sys.getrefcount(x))
    print(dir(x) == dir(type(copy.copy(x))), isinstance(x, (list, dict, set)), x == copy.deepcopy(x), type(x)() == x.__class__())
    copies = [copy.copy(x), copy.deepcopy(x), x.copy(), type(x)(x)]
    copies += [pickle.loads(pickle.dumps(x, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    print([type(c) in (list, dict, set) and c == x for c in copies])
    for code in ("hash(x)", "x.nope", "x()", "x + 1", "x.nope = 1", "x.clear(1)", "x.pop(1, 2, 3)", "x['no']", "x.__class__ = int"):
        try:
            exec(code)
        except Exception as error:
            print(code, type(error).__name__, error)
print(json.dumps([l, d]), [*l], {**d}, (lambda **k: k)(**d), l + [3], [0] + l, s | {9}, {9} | s, l[:1], sorted(s))
print(type(l + l) is list, type(s | s) is set, type(s - s) is set, type(dict(d)) is dict, type(d.fromkeys("a")) is dict)
l.append(l)
print(l, pickle.loads(pickle.dumps(l)))
del l[-1]
"""}, lambda run: None)

    def test_destructors_run_once_and_cycles_are_collected(self):
        self.on_all({"program.py": HEAD + """
import gc, weakref
class Loud:
    def __init__(self, name): self.name = name
    def __del__(self): print("del", self.name)
def main():
    x = watch([Loud("first"), Loud("second")], name="x")
    x[0] = None
    x.clear()
    x.append(x); x.append(Loud("in a cycle"))
    d = watch({}, name="d")
    d["self"] = d; d["loud"] = Loud("in a dict")
    s = watch({Loud("in a set")}, name="s")
    return weakref.ref(s)
gone = main()
print(gone())
gc.collect()
print(len(gc.garbage))
"""}, lambda run: self.assertEqual([e["op"] for e in run.of("x")], ["setitem", "clear", "append", "append"]))


if __name__ == "__main__":
    harness.main()
