"""Buffers that are watched through their pages: any writer, every byte, and the Python line that wrote it."""

import sys

import harness
from harness import value

HEAD = """from watcher import watch
import array, ctypes, mmap, struct, sys, threading
"""


def with_package(package):
    found = [(version, python) for version, python in harness.INTERPRETERS
             if harness.subprocess.run([python, "-c", "import " + package], capture_output=True).returncode == 0]
    if not found:
        print("not tested, no interpreter has it:", package, file=sys.stderr)
    return found


NUMPY, PANDAS, TORCH = (with_package(package) for package in ("numpy", "pandas", "torch"))


def writes(run, name="buf"):
    return [event for event in run.of(name) if event["op"] in ("write", "kernel_write")]


class BufferCase(harness.Case):
    def replay(self, events, content):
        """Applies each event to `content`: the chain from before to after must never break."""
        content = bytearray(content)
        for event in events:
            for delta in event["deltas"]:
                if "offset" not in delta:
                    continue
                at = delta["offset"]
                before, after = (int(delta[side], 16).to_bytes(1, "little") for side in ("before", "after"))
                self.assertEqual(bytes(content[at:at + 1]), before, event)
                content[at:at + 1] = after
        return bytes(content)


class Writers(BufferCase):
    def test_every_way_to_write_a_bytearray_is_captured_with_its_line(self):
        def check(run):
            self.assertEqual(self.replay(writes(run), bytes(16)), bytes.fromhex("0141426300090000070707073412ff00"))
            changed = [event for event in writes(run) if event["deltas"]]
            self.assertEqual(sorted({event["line"] for event in changed}), [5, 6, 7, 8, 9])
            self.assertEqual({event["function"].split(".")[-1] for event in changed}, {"main"})
            self.assertEqual({event["scope"] for event in changed}, {"local"})
            self.assertTrue(all(event["exact"] for event in run.events))

        self.on_all({"program.py": HEAD + """def main():
    buf = watch(bytearray(16), name="buf")
    buf[0] = 1; buf[1:4] = b"ABc"
    memoryview(buf)[5] = 9
    ctypes.memset((ctypes.c_char * 4).from_buffer(buf, 8), 7, 4)
    struct.pack_into("<H", buf, 12, 0x1234)
    ctypes.memmove((ctypes.c_char * 1).from_buffer(buf, 14), b"\\xff", 1)
    print(buf.hex())
main()
"""}, check, users=(None, harness.NOBODY))

    def test_a_slice_in_memory_that_was_used_before_is_watched(self):
        self.on_all({"program.py": HEAD + """for _ in range(100):
    junk = [bytes([255]) * 27 for _ in range(50)]
    del junk
    buf = watch(bytearray(b"abc")[:], name="buf")
    buf[1] = 7
print(buf)
"""}, lambda run: self.assertEqual([value(event["after"]) for event in writes(run)], [7] * 100))

    def test_a_bytearray_may_grow_shrink_and_die(self):
        def check(run):
            events = run.of("buf")
            self.assertEqual(events[-1]["op"], "freed")
            self.assertIn("moved", [event["op"] for event in events])
            self.assertEqual([value(event["after"]) for event in writes(run) if event["line"] == 8][-1], 7)

        self.on_all({"program.py": HEAD + """def main():
    buf = watch(bytearray(), name="buf")
    buf.append(1); size = sys.getsizeof(buf)
    buf.extend(b"x" * 20000); del buf[5:]; buf.insert(0, 3); buf.pop(); buf.clear()
    other = bytearray(); other.append(1); print(size == sys.getsizeof(other))
    buf += b"abc"; buf[1] = 7
    print(buf, len(buf))
main()
for _ in range(1000):
    bytearray(100)[0] = 1
"""}, check)

    def test_the_buffers_of_the_standard_library(self):
        def check(run):
            self.assertEqual([value(e["after"]) for e in writes(run, "a") if e["deltas"]], [77, 5])
            self.assertEqual([e["path"] for e in writes(run, "a") if e["deltas"]], [[1], [3]])
            self.assertEqual([(e["op"], value(e["after"])) for e in run.of("m")], [("write", 3), ("freed", None)])
            self.assertEqual([(e["path"], value(e["after"])) for e in writes(run, "c")], [([2], 5)])
            self.assertEqual([(e["path"], value(e["after"])) for e in writes(run, "v")], [([1], 8)])

        self.on_all({"program.py": HEAD + """
a = watch(array.array("q", [1, 2, 3]), name="a")
a[1] = 77
a.append(5)
m = watch(mmap.mmap(-1, 4096), name="m")
m[5] = 3
m.close()
try:
    m[5] = 3
except ValueError as error:
    print(error)
c = watch((ctypes.c_int * 4)(), name="c")
c[2] = 5
plain = bytearray(4)
v = watch(memoryview(plain), name="v")
v[1] = 8
v.release()
plain.append(1)
plain[0] = 9
print(a, list(c), plain, sys.getrefcount(a))
"""}, check)

    def test_buffers_that_cannot_be_watched_run_on(self):
        self.on_all({"program.py": HEAD + """
for value in (b"bytes", memoryview(b"read-only"), bytearray(), array.array("b"), memoryview(bytearray(8))[::2]):
    watch(value, name="value")
    print(type(value), len(value))
"""}, lambda run: None)

    def test_two_threads_on_neighbouring_elements_are_told_apart(self):
        def check(run):
            events = [event for event in writes(run) if event["deltas"]]
            for index in (0, 1):
                mine = [event for event in events if event["path"] == [index]]
                self.assertEqual([value(event["after"]) for event in mine], [i % 250 + 1 for i in range(500)])
                self.assertEqual(len({event["thread_id"] for event in mine}), 1)
            self.assertEqual(len({event["thread_id"] for event in events}), 2)

        self.on_all({"program.py": HEAD + """sys.setswitchinterval(1e-5)
buf = watch(bytearray(2), name="buf")
def hammer(index):
    for i in range(500):
        buf[index] = i % 250 + 1
threads = [threading.Thread(target=hammer, args=(index,)) for index in (0, 1)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
print(buf)
"""}, check, users=(None, harness.NOBODY))


class PackageCase(BufferCase):
    INTERPRETERS = []

    def setUp(self):
        super().setUp()
        everything, harness.INTERPRETERS[:] = list(harness.INTERPRETERS), self.INTERPRETERS
        self.addCleanup(harness.INTERPRETERS.__setitem__, slice(None), everything)

    def told(self, run, name="buf"):
        """Path and value; numpy stores some kinds in two steps, of which only the second one counts here."""
        last = {}
        for event in writes(run, name):
            last[tuple(event["path"])] = event["after"].get("value", event["after"].get("repr"))
        return last


@harness.unittest.skipUnless(NUMPY, "no interpreter with numpy here")
class Numpy(PackageCase):
    INTERPRETERS = NUMPY

    def test_its_own_settings_may_be_watched(self):
        names = '[[watch]]\nfile = "*/numpy/core/_ufunc_config.py"\nboth = ["*"]\n[[watch]]\nfile = "*/numpy/linalg/linalg.py"\nboth = ["*"]\n'
        program = "import numpy as np\nprint(np.seterr(all='ignore'), np.linalg.inv(np.eye(1)))\nprint(np.seterr(all='warn'))\n"
        self.on_all({"program.py": program}, lambda run: self.assertTrue(run.of("errobj") and run.of("defval")), config=names)

    def test_an_array_on_pages_of_its_own_and_its_views(self):
        def check(run):
            final = b"".join(n.to_bytes(8, "little") for n in (1, 2, 10, 4, 5, 6, 7, 9))
            start = b"".join(n.to_bytes(8, "little") for n in range(8))
            self.assertEqual(self.replay(writes(run), start), final)
            self.assertEqual(writes(run)[0]["path"], [2])
            self.assertEqual(run.of("buf")[-1]["op"], "freed")

        self.on_all({"program.py": HEAD + """import numpy as np
def main():
    buf = watch(np.arange(8), name="buf")
    buf[2] = 9
    buf += 1
    view = buf[7:]
    view[0] = 9
    del view
    print(buf.tolist(), buf.flags.owndata)
main()
print([np.ones(8).sum() for _ in range(100)][-1])
"""}, check, users=(None, harness.NOBODY))

    def test_an_array_that_others_know_is_watched_in_place_and_can_still_be_resized(self):
        def check(run):
            self.assertEqual([(e["path"], value(e["after"])) for e in writes(run)][:1], [([1], 5.5)])

        self.on_all({"program.py": HEAD + """import numpy as np
known = np.zeros(4)
holders = [known, known]
watch(known, name="buf")
known[1] = 5.5
known.resize(8, refcheck=False)
known[7] = 1
print(known.tolist())
"""}, check)

    def test_elements_are_told_by_their_axes_and_fields(self):
        def check(run):
            self.assertEqual(self.told(run, "plane"), {(1, 2): 5.0, (2, 0): -1.0})
            self.assertEqual(self.told(run, "backwards"), {(0, 0): 7.0})
            self.assertEqual(self.told(run, "every"), {(1, 1): 8.0})
            self.assertEqual(self.told(run, "columns"), {(1, 2): 9.0})
            self.assertEqual(self.told(run, "row"), {(1,): 5.0})
            self.assertEqual(self.told(run, "records"), {(2, "y"): 1.5, (1, "x"): 4, (0, "v", 0): 5, (0, "v", 1): 6})
            self.assertEqual(self.told(run, "fields"), {(2,): 2.5})
            self.assertEqual(self.told(run, "words"), {(1,): "xy"})
            self.assertEqual(self.told(run, "days"), {(1,): "2020-02-29"})
            self.assertEqual(self.told(run, "points"), {(0,): "(1+2j)"})

        self.on_all({"program.py": HEAD + """import numpy as np
plane = watch(np.zeros((3, 4)), name="plane")
plane[1, 2] = 5
plane[2, 0] = -1
base = np.zeros((4, 6))
every = watch(base[::2, ::3], name="every")
base[1, :] = 3      # between its elements
base[2, 4] = 3
every[1, 1] = 8
backwards = watch(np.zeros((2, 2))[::-1, ::-1], name="backwards")
backwards[0, 0] = 7
columns = watch(np.zeros((2, 3), order="F"), name="columns")
columns[1, 2] = 9
row = watch(plane[1, 1:3], name="row")
row[1] += 0
records = watch(np.zeros(3, dtype=[("x", "i4"), ("y", "f8"), ("v", "i2", 2)]), name="records")
records["y"][2] = 1.5
records["x"][1] = 4
records["v"][0] = [5, 6]
fields = watch(np.zeros(3, dtype=[("x", "i4"), ("y", "f8")])["y"], name="fields")
fields[2] = 2.5
words = watch(np.array(["ab", "cd"]), name="words")
words[1] = "xy"
days = watch(np.zeros(2, dtype="M8[D]"), name="days")
days[1] = "2020-02-29"
points = watch(np.zeros(2, dtype="c16"), name="points")
points[0] = 1 + 2j
print(plane, base, records, fields, words, days, points)
"""}, check)


@harness.unittest.skipUnless(PANDAS, "no interpreter with pandas here")
class Pandas(PackageCase):
    INTERPRETERS = PANDAS

    def test_a_series_and_a_frame_of_one_kind_are_watched_where_they_lie(self):
        def check(run):
            self.assertEqual(self.told(run, "series"), {(1,): 5, (2,): 7})
            self.assertEqual(self.told(run, "frame"), {(1, 0): 9.5, ("0:2", 0): [2.0, 19.0]})
            self.assertIn("freed", [event["op"] for event in run.of("series")])

        self.on_all({"program.py": HEAD + """import pandas
series = watch(pandas.Series([1, 2, 3]), name="series")
series[1] = 5
series.iloc[2] = 7
frame = watch(pandas.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0]}), name="frame")
frame.loc[1, "x"] = 9.5
frame["x"] *= 2
frame["z"] = frame.x + frame.y
print(frame.groupby("x").sum(), series.describe(), sep="\\n")
del series
mixed = watch(pandas.DataFrame({"x": [1, 2], "y": ["a", "b"]}), name="mixed")  # of several arrays
mixed.loc[0, "y"] = "c"
print(mixed)
"""}, check)

    def test_a_frame_of_several_blocks_keeps_them(self):
        """Asked for one array, pandas would make one block of them, of copies."""
        def check(run):
            self.assertEqual([event["op"] for event in run.of("frame")][0], "store")
            self.assertEqual(self.told(run, "column"), {(1,): 6})

        self.on_all({"program.py": """import numpy, pandas
def main():
    a, b = numpy.array([1, 2]), numpy.array([3, 4])
    frame = pandas.DataFrame({"a": a, "b": b}, copy=False)
    column = pandas.Series(b, copy=False)
    column.iloc[1] = 6
    print([numpy.shares_memory(part, whole) for whole in (a, b) for part in frame._mgr.arrays], b)
main()
"""}, check, config='[[watch]]\nfile = "program.py"\nlocal = ["frame", "column"]\n')

    def test_what_compiled_code_insists_on_stays_plain(self):
        self.on_all({"program.py": HEAD + """import pandas
class Table(pandas.DataFrame):
    pass
class Holder:
    pass
holder = watch(Holder(), name="holder")
holder.table = Table({"x": [1, 2], "y": ["a", "b"]})
holder.table.loc[3] = [5, "c"]
print(holder.table, holder.table.groupby("y").x.sum(), pandas.concat([holder.table] * 2).index)
"""}, lambda run: self.assertEqual(run.of("holder")[0]["path"], ["table"]))


@harness.unittest.skipUnless(TORCH, "no interpreter with torch here")
class Torch(PackageCase):
    INTERPRETERS = TORCH

    def test_tensors_are_watched_where_they_lie(self):
        def check(run):
            self.assertEqual(self.told(run, "tensor")[1, 2], 5.0)
            self.assertEqual(self.told(run, "weight"), {(0, 1): 4.0})

        self.on_all({"program.py": HEAD + """import torch
tensor = watch(torch.zeros(3, 4), name="tensor")
tensor[1, 2] = 5
weight = watch(torch.nn.Parameter(torch.zeros(2, 2)), name="weight")
with torch.no_grad():
    weight[0, 1] = 4
loss = (weight * 2).sum()
loss.backward()
print(tensor.sum(), weight, weight.grad, tensor.t().is_contiguous())
"""}, check)


if __name__ == "__main__":
    harness.main()
