"""Buffers inside watched objects: a store into their memory is a change of the variable, with the whole path."""

import harness
from harness import value

HEAD = """import array, ctypes
from watcher import unwatch, watch
"""


def stores(run, name):
    return [(event["line"], event["path"], value(event["before"]), value(event["after"])) for event in run.of(name) if event["op"] == "write"]


class NestedBuffers(harness.Case):
    def holds(self, program, name, expected, **settings):
        def check(run):
            self.assertEqual(stores(run, name), expected)
            self.assertTrue(all(event["exact"] for event in run.events))

        self.on_all({"program.py": HEAD + program}, check, **settings)

    def test_wherever_objects_hold_them(self):
        self.holds("""class Slots:
    __slots__ = "buf",
class Pipeline:
    def __init__(self):
        self.slots = Slots()
        self.slots.buf = array.array("i", [1, 2])
        self.frames = {"raw": [bytearray(2)], "c": (ctypes.c_int * 2)()}
p = watch(Pipeline(), name="p")
p.slots.buf[1] = 20
p.frames["raw"][0][1] = 7
p.frames["c"][0] = 8
p.frames["new"] = array.array("d", [0.5])
p.frames["new"][0] = 1.5
p.late = bytearray(1)
p.late[0] = 9
print(p.slots.buf, p.frames["raw"], p.frames["new"], p.late)
""", "p", [(11, ["slots", "buf", 1], 2, 20), (12, ["frames", "raw", 0, 1], 0, 7), (13, ["frames", "c", 0], 0, 8),
           (15, ["frames", "new", 0], 0.5, 1.5), (17, ["late", 0], 0, 9)], users=(None, harness.NOBODY))

    def test_paths_follow_what_is_moved_and_end_with_what_is_taken_out(self):
        self.holds("""l = watch([bytearray(b"ab"), bytearray(b"cd")], name="l")
l.insert(0, bytearray(b"zz"))
l[1][0] = 1
l.reverse()
l[2][0] = 2
gone = l.pop(0)
gone[0] = 3
l[0][1] = 4
d = {"k": [l.pop()]}
d["k"][0][0] = 5
l.append(d)
d["k"][0][0] = 6
l[1]["j"] = l[1].pop("k")
d["j"][0][1] = 7
l[1]["j"][0] = None
print(l, gone)
""", "l", [(5, [1, 0], 97, 1), (7, [2, 0], 122, 2), (10, [0, 1], 98, 4), (14, [1, "k", 0, 0], 5, 6), (16, [1, "j", 0, 1], 122, 7)])

    def test_every_variable_that_reaches_it(self):
        source = """b = bytearray(2)
one = watch({"b": b}, name="one")
two = watch([one], name="two")
b[0] = 1
unwatch("one")
b[1] = 2
two.clear()
b[0] = 3
print(b)
"""
        self.holds(source, "one", [(6, ["b", 0], 0, 1)])
        self.holds(source, "two", [(6, [0, "b", 0], 0, 1), (8, [0, "b", 1], 0, 2)])

    def test_memory_that_grows_under_another_path_or_name(self):
        def single(run, name):
            return [store for store in stores(run, name) if isinstance(store[1][-1], int)]

        def check(run):
            self.assertEqual(single(run, "l"), [(6, [0, 22], 0, 77), (8, [1, 60], 0, 78)])
            self.assertEqual(single(run, "other"), [(11, [22], 0, 79)])

        self.on_all({"program.py": HEAD + """l = watch([bytearray(1), array.array("i", [0] * 12), bytearray(12)], name="l")
del l[0]
l[0].extend(l[0][:])
l[0][22] = 77
l[1].extend(bytes(50))
l[1][60] = 78
b = watch(watch(array.array("i", [0] * 12), name="b"), name="other")
b.extend(b[:])
b[22] = 79
print(l, b)
"""}, check)

    def test_another_name_for_memory_that_has_moved(self):
        def check(run):
            for name, path in (("l", [0]), ("other", []), ("c", ["k"])):
                self.assertIn((8, [*path, 90000], 0, 3), stores(run, name))
            self.assertIn((5, [0, 100], 0, 79), stores(run, "l"))

        self.on_all({"program.py": HEAD + """l = watch([bytearray(12)], name="l"); l[0].extend(bytes(5000))
b = watch(l[0], name="other")
b[100] = 79
b.extend(bytes(90000))
c = watch({"k": b}, name="c")
b[90000] = 3
print(len(b))
"""}, check)

    def test_memory_that_grows(self):
        def check(run):
            self.assertEqual(stores(run, "d")[-1], (7, ["b", 303], 100, 65))
            self.assertEqual({event["path"][0] for event in run.of("d") if event["op"] == "moved"}, {"b"})

        self.on_all({"program.py": HEAD + """d = watch({"b": bytearray(b"abc")}, name="d")
b = d["b"]
b.extend(b"def" * 100)
assert len(b) == 303
b.append(100); b[303] = 65
print(b)
"""}, check)

    def test_rules_follow_them_as_deep_as_they_say(self):
        program = HEAD + """state = {"b": bytearray(1)}
state["b"][0] = 1
print(state)
"""
        rules = 'depth = %d\n[[watch]]\nfile = "program.py"\nglobal = ["state"]\n'
        for depth, expected in ((2, [(4, ["b", 0], 0, 1)]), (1, [])):
            self.on_all({"program.py": program}, lambda run, expected=expected: self.assertEqual(stores(run, "state"), expected), config=rules % depth)

    def test_elements_of_arrays(self):
        from python_buffers import NUMPY
        program = self.write({"program.py": HEAD + """import numpy as np
class Pipeline: pass
p = Pipeline()
p.image = np.zeros((2, 3))
p.table = np.zeros(2, dtype=[("a", "i4"), ("b", "f8")])
p.objects = np.array([None, 1], dtype=object)
p = watch(p, name="p")
p.image[1, 2] = 5
p.table["b"][1] = 2.5
p.row = p.image[0]
p.row[1] = 7
p.objects[0] = 3
print(p.image, p.table, p.objects)
"""})
        for version, python in NUMPY:
            with self.subTest(python=python):
                run = self.watched(python, program)
                self.assert_same_host(self.plain(python, program), run)
                self.assertEqual(sorted(stores(run, "p"), key=str), [
                    (10, ["image", 1, 2], 0.0, 5.0), (11, ["table", 1, "b"], 0.0, 2.5), (13, ["image", 0, 1], 0.0, 7.0), (13, ["row", 1], 0.0, 7.0)])


if __name__ == "__main__":
    harness.main()
