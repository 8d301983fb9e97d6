"""Bulk statements: one event for what one statement stores in C, and one for each store of a Python loop."""

import contextlib
import os
import subprocess
import sys

import harness

HEAD = """from watcher import watch
import array, ctypes, mmap, os, sys, threading
libc = ctypes.CDLL(None)
def address(buffer):
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
"""
NUMPY = [(version, python) for version, python in harness.INTERPRETERS
         if subprocess.run([python, "-c", "import numpy"], capture_output=True).returncode == 0]
SINGLES = 8  # burst_threshold


@contextlib.contextmanager
def busy_machine():
    """Whoever waits for a processor waits for long."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def writes(run, line=None, name="buf"):
    return [event for event in run.of(name) if event["op"] == "write" and line in (None, event["line"])]


def kinds(run, line, name="buf"):
    """How many single and how many bulk events a line has."""
    events = writes(run, line, name)
    bulk = sum("coalesced" in event for event in events)
    return len(events) - bulk, bulk


class BulkCase(harness.Case):
    def replay(self, events, content):
        """The chain from before to after must never break; returns what the buffer holds at the end."""
        content = bytearray(content)
        for event in events:
            self.assertNotIn("deltas_total", event)
            for delta in event["deltas"]:
                at = delta["offset"]
                self.assertEqual(content[at], int(delta["before"], 16), event)
                content[at] = int(delta["after"], 16)
        return bytes(content)

    def check_content(self, run, size, name="buf"):
        """The program prints its buffer's content last, in hex."""
        final = run.stdout.decode().split()[-1]
        self.assertEqual(self.replay(writes(run, name=name), bytes(size)).hex(), final)


class Statements(BulkCase):
    def test_a_loop_of_single_stores_stays_one_event_a_store(self):
        def check(run):
            for line in (8, 9):
                self.assertEqual(kinds(run, line), (3000, 0), line)
            self.assertEqual(kinds(run, 10), (6000, 0))  # a byte at a time
            self.assertEqual(kinds(run, 12, "items"), (2000, 0))
            self.check_content(run, 8192)

        self.on_all({"program.py": HEAD + """buf = watch(bytearray(8192), name="buf")
view = memoryview(buf)
for i in range(3000): buf[i] = i % 251
for i in range(3000): view[i] = i % 13
for i in range(3000): view[i:i + 2] = b"ab"
items = watch(array.array("q", [0]) * 2000, name="items")
for i in range(2000): items[i] = i
print(buf.hex())
"""}, check, users=(None, harness.NOBODY))

    def test_a_statement_that_copies_is_one_event(self):
        def check(run):
            for line in (8, 9, 10, 11):
                self.assertEqual(kinds(run, line), (0, 1), line)
            bulk = writes(run, 8)[0]
            self.assertEqual((bulk["path"], bulk["exact"]), (["10:20010"], True))
            self.assertEqual(kinds(run, 13, "pages"), (0, 1))
            self.check_content(run, 40000)

        self.on_all({"program.py": HEAD + """buf = watch(bytearray(40000), name="buf")
view = memoryview(buf)
view[10:20010] = b"x" * 20000
buf[5000:30000] = bytes(range(250)) * 100
ctypes.memset(address(buf), 7, 39000)
ctypes.memmove(address(buf) + 4096, b"abcd" * 8000, 32000)
pages = watch(mmap.mmap(-1, 65536), name="pages")
pages[100:30100] = b"y" * 30000
pages.close()
del view
print(buf.hex())
"""}, check, users=(None, harness.NOBODY))

    def test_after_the_first_stores_of_one_call_the_rest_is_one_event(self):
        def check(run):
            self.assertEqual(kinds(run, 8), (SINGLES, 2))  # the second execution is one event from its first store on
            self.assertEqual(kinds(run, 9), (60, 0))
            self.check_content(run, 8192)

        self.on_all({"program.py": HEAD + """buf = watch(bytearray(8192), name="buf")
view = memoryview(buf)
for start in (1, 2): list(map(view.__setitem__, range(60), range(start, start + 60)))
for i in range(60): view[i + 100] = i + 1
print(buf.hex())
"""}, check)

    def test_code_of_the_language_in_between_ends_the_window(self):
        def check(run):
            self.assertEqual(kinds(run, 11), (int(run.stdout.split()[0]), 0))  # each store of the callback
            self.assertEqual(kinds(run, 16), (50, 0))
            self.assertEqual(kinds(run, 18), (50, 0))
            self.check_content(run, 16384)

        self.on_all({"program.py": HEAD + """buf = watch(bytearray(16384), name="buf")
view = memoryview(buf)
calls = 0
def compare(a, b):
    global calls; calls += 1
    view[10000 + calls % 50] = calls % 250 + 1
    return (a[0] > b[0]) - (a[0] < b[0])
callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_uint8), ctypes.POINTER(ctypes.c_uint8))(compare)
def generate():
    for i in range(50):
        view[9000 + i] = i + 1
        yield i
sum(generate()); list(map(lambda i: view.__setitem__(9100 + i, 3), range(50)))
view[0:200] = bytes((i * 37) % 256 for i in range(200))
libc.qsort(ctypes.c_void_p(address(buf)), ctypes.c_size_t(200), ctypes.c_size_t(1), callback)
del callback
print(calls)
print(buf.hex())
"""}, check)

    def test_a_child_forked_inside_a_call_goes_on_by_itself(self):
        def check(run):
            self.assertEqual({event["pid"] for event in writes(run, 20)} & {event["pid"] for event in writes(run, 22)},
                             set())
            self.assertEqual(kinds(run, 20), (40, 0))
            self.assertEqual(kinds(run, 22), (40, 0))

        self.on_all({"program.py": HEAD + """buf = watch(bytearray(16384), name="buf")
view = memoryview(buf)
pid = None
def compare(a, b):
    global pid
    if pid is None:
        sys.stdout.flush()
        pid = os.fork()
    return (a[0] > b[0]) - (a[0] < b[0])
callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_uint8), ctypes.POINTER(ctypes.c_uint8))(compare)
view[0:6000] = bytes((i * 37) % 256 for i in range(6000))
libc.qsort(ctypes.c_void_p(address(buf)), ctypes.c_size_t(6000), ctypes.c_size_t(1), callback)
in_order = view[0:6000].tolist() == sorted(view[0:6000].tolist())
if pid == 0:
    for i in range(40): view[i] = 255
    os._exit(0 if in_order else 1)
for i in range(40): view[i] = 254
print(in_order, os.waitpid(pid, 0)[1])
"""}, check)

    def test_several_variables_on_the_same_pages_get_an_event_each(self):
        def check(run):
            self.assertEqual(kinds(run, 9), (0, 1))
            self.assertEqual(kinds(run, 9, "part"), (0, 1))
            self.assertEqual(writes(run, 9, "part")[0]["path"], ["0:10000"])
            self.check_content(run, 40000)

        self.on_all({"program.py": HEAD + """buf = watch(bytearray(40000), name="buf")
part = watch(memoryview(buf)[10000:20000], name="part")
view = memoryview(buf)
view[5000:35000] = b"z" * 30000
view.release(); part.release()
print(buf.hex())
"""}, check)

    def test_a_buffer_that_is_resized_or_freed_in_the_call_that_fills_it(self):
        self.on_all({"program.py": HEAD + """buf = watch(bytearray(20000), name="buf")
buf[:] = b"1" * 30000
buf.extend(b"2" * 50000)
buf *= 3
buf[10:200000] = b""
items = watch(array.array("i", range(20000)), name="items")
items.extend(range(50000)); items *= 2; del items[5:-5]; items.reverse()
print(items, len(buf), sum(buf))
"""}, lambda run: self.assertTrue(all(event["variable_name"] for event in run.events)))

    def test_threads_that_fill_one_buffer(self):
        """Faults are told late on a busy machine: their threads may have been helped meanwhile, and have ended."""
        def check(run):
            self.assertFalse([event for event in run.of("buf") if event["op"] == "kernel_write"])
            final = run.stdout.decode().split()[-1]
            self.assertEqual(self.replay(writes(run), bytes(15000)).hex(), final)

        with busy_machine():
            self.on_all({"program.py": HEAD + """sys.setswitchinterval(1e-5)
buf = watch(bytearray(15000), name="buf")
def fill(lap, index):
    for i in range(lap, lap + 2):
        ctypes.memset(base + index * 5000, i + index, 5000)
        view[index * 5000 + i] = 200
view = memoryview(buf)
base = address(buf)
for lap in range(1, 80, 2):
    threads = [threading.Thread(target=fill, args=(lap, index)) for index in range(3)]
    [thread.start() for thread in threads]; [thread.join() for thread in threads]
print(buf.hex())
"""}, check)

    def test_a_call_left_by_an_exception_or_a_kill(self):
        def check(run):
            self.assertEqual(kinds(run, 10), (30, 0))
            self.check_content(run, 8192)

        self.on_all({"program.py": HEAD + """buf = watch(bytearray(8192), name="buf")
view = memoryview(buf)
try: list(map(view.__setitem__, range(60), list(range(1, 50)) + ["x"]))
except TypeError as error: print(error)
for i in range(30): view[i + 200] = i + 1
print(buf.hex())
"""}, check)


class Options(BulkCase):
    PROGRAM = {"program.py": HEAD + """buf = watch(bytearray(16384), name="buf")
view = memoryview(buf)
view[0:16384] = b"x" * 16384
list(map(view.__setitem__, range(60), range(60)))
print(buf.hex())
"""}

    def test_burst_off_keeps_store_by_store(self):
        def check(run):
            self.assertFalse([event for event in run.events if "coalesced" in event])
            self.assertEqual(kinds(run, 9), (60, 0))
            self.check_content(run, 16384)

        self.settings = {"WATCHER_BURST": "off"}
        self.on_all(self.PROGRAM, check)

    def test_the_threshold_is_an_option(self):
        self.settings = {"WATCHER_BURST_THRESHOLD": "20"}
        self.on_all(self.PROGRAM, lambda run: self.assertEqual(kinds(run, 9), (20, 1)))


@harness.unittest.skipUnless(NUMPY, "no interpreter with numpy here")
class Numpy(BulkCase):
    def setUp(self):
        super().setUp()
        everything, harness.INTERPRETERS[:] = list(harness.INTERPRETERS), NUMPY
        self.addCleanup(harness.INTERPRETERS.__setitem__, slice(None), everything)

    def test_statements_on_an_array(self):
        def check(run):
            for line in (10, 11, 12, 13, 14):
                self.assertEqual(kinds(run, line, "a")[1], 1, line)
                self.assertLessEqual(kinds(run, line, "a")[0], SINGLES, line)
            self.assertEqual([kinds(run, line, "a") for line in (10, 12, 13)], [(0, 1)] * 3)
            self.assertEqual(kinds(run, 16, "a"), (100, 0))
            self.check_content(run, 8192 * 4, "a")

        self.on_all({"program.py": HEAD + """import numpy as np
def main():
    global a
    a = watch(np.zeros(8192, dtype=np.int32), name="a")
    np.add(a, 1, out=a)
    a[::2] += 3
    a[1000:3000] += 1
    a.fill(9)
    np.add.at(a, np.arange(300), 4)
    a[:] = np.arange(8192)[::-1]
    for i in range(100): a[i] = i
    a.sort()
    try:
        with np.errstate(divide="raise"): np.floor_divide(a, np.zeros(8192, dtype=np.int32), out=a)
    except FloatingPointError as error: print(error)
    print(a.tobytes().hex())
main()
"""}, check, users=(None, harness.NOBODY))

    def test_an_array_larger_than_what_an_event_holds(self):
        def check(run):
            events = writes(run, 8, "a")
            self.assertEqual(len(events), 3)
            for event in events:
                self.assertEqual(event["path"], ["0:2000000"])
                self.assertEqual(event["ranges"], [[0, 16000000]])
            self.assertEqual([event["deltas_total"] for event in events], [4000000, 4000000, 2000000])

        self.on_all({"program.py": HEAD + """import numpy as np
a = watch(np.zeros(2000000), name="a")
for i in range(3): np.add(a, 1, out=a)
print(a.sum())
"""}, check)


if __name__ == "__main__":
    harness.main()
