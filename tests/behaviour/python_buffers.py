"""Buffers that are watched through their pages: any writer, every byte, and the Python line that wrote it."""

import harness
from harness import value

HEAD = """from watcher import watch
import array, ctypes, mmap, struct, sys, threading
"""
NUMPY = [(version, python) for version, python in harness.INTERPRETERS
         if harness.subprocess.run([python, "-c", "import numpy"], capture_output=True).returncode == 0]


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


@harness.unittest.skipUnless(NUMPY, "no interpreter with numpy here")
class Numpy(BufferCase):
    def setUp(self):
        super().setUp()
        everything, harness.INTERPRETERS[:] = list(harness.INTERPRETERS), NUMPY
        self.addCleanup(harness.INTERPRETERS.__setitem__, slice(None), everything)

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


if __name__ == "__main__":
    harness.main()
