"""What becomes of watched memory that stays in its place: closed, resized, emptied, freed, moved, protected."""

import harness
from harness import value

HEAD = """from watcher import watch
import array, ctypes, mmap, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
for name in ("malloc", "realloc", "mmap", "mremap"):
    getattr(libc, name).restype = ctypes.c_void_p
P, N = ctypes.c_void_p, ctypes.c_size_t
libc.realloc.argtypes = [P, N]
libc.free.argtypes = [P]
libc.mmap.argtypes = [P, N, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mremap.argtypes = [P, N, N, ctypes.c_int]
libc.munmap.argtypes = libc.madvise.argtypes = libc.mprotect.argtypes = [P, N]
RW, R, PRIVATE = 3, 1, 0x22
def at(address, count, kind=ctypes.c_ubyte):
    return (kind * count).from_address(address)
"""


def told(run, name):
    return [(event["op"], event["line"]) for event in run.of(name)]


class Lifetimes(harness.Case):
    def line(self, run, text):
        return next(i for i, line in enumerate(self.source.splitlines(), 1) if text in line)

    def check_on_all(self, program, check, **settings):
        self.source = HEAD + program
        self.on_all({"program.py": self.source}, check, users=(None, harness.NOBODY), **settings)

    def test_a_memory_map_is_resized_emptied_and_closed(self):
        def check(run):
            ops = [op for op, _ in told(run, "m")]
            self.assertEqual(ops[:3], ["write", "kernel_write", "write"])
            emptied = run.of("m")[1]
            self.assertEqual(emptied["system_call"], "madvise")
            self.assertEqual(emptied["line"], self.line(run, "MADV_DONTNEED)"))
            self.assertEqual(emptied["deltas"][0], {"offset": 5, "before": "0x7", "after": "0x0"})
            self.assertEqual(ops.count("freed"), 1)

        self.check_on_all("""
m = watch(mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), name="m")
m[5] = 7
if hasattr(m, "madvise"):
    m.madvise(mmap.MADV_DONTNEED)
m[6] = 1
print(m[5], m[6])
m.close()
other = mmap.mmap(-1, 8192)
other[5] = 1
print(other[5])
""", check)

    def test_an_allocators_block_moves_and_is_freed(self):
        def check(run):
            self.assertEqual([op for op, _ in told(run, "block")], ["write", "moved", "write", "freed"])
            self.assertEqual([value(e["after"]) for e in run.of("block") if e["op"] == "write"], [3, 4])
            self.assertEqual(told(run, "block")[1][1], self.line(run, "= libc.realloc"))
            self.assertEqual(told(run, "block")[3][1], self.line(run, "libc.free("))

        self.check_on_all("""
def main():
    address = libc.malloc(64)
    fence = libc.malloc(64)
    block = watch(at(address, 8), name="block")
    block[1] = 3
    address = libc.realloc(address, 1 << 20)
    moved = at(address, 8)
    moved[2] = 4
    print(list(moved)[1:3])
    libc.free(address)
    for i in range(100):
        again = libc.malloc(1 << 20)
        at(again, 8)[0] = 1
        libc.free(again)
main()
""", check)

    def test_a_mapping_is_moved_and_unmapped(self):
        def check(run):
            self.assertEqual([op for op, _ in told(run, "words")], ["write", "moved", "write", "freed"])
            self.assertEqual([op for op, _ in told(run, "left")], ["write", "freed"])

        self.check_on_all("""
address = libc.mmap(None, 3 * 4096, RW, PRIVATE, -1, 0)
words = watch(at(address + 4096, 4, ctypes.c_uint64), name="words")
words[1] = 1
moved = libc.mremap(address, 3 * 4096, 64 * 4096, 1)
at(moved + 4096, 4, ctypes.c_uint64)[1] = 2
print(libc.munmap(moved + 4096, 4096), at(moved, 1)[0])
address = libc.mmap(None, 4096, RW, PRIVATE, -1, 0)
left = watch(at(address, 4), name="left")
left[0] = 1
print(libc.mmap(address, 4096, RW, PRIVATE | 0x10, -1, 0) == address, left[0])
left[0] = 2
""", check)

    def test_the_hosts_own_protection_raises_its_own_fault(self):
        def check(run):
            self.assertEqual([value(e["after"]) for e in run.of("page") if e["op"] == "write"], [1, 2])

        self.check_on_all("""
address = libc.mmap(None, 4096, RW, PRIVATE, -1, 0)
page = watch(at(address, 4), name="page")
page[0] = 1
print(libc.mprotect(address, 4096, R))
child = os.fork()
if child == 0:
    page[0] = 9
    os._exit(0)
print(os.WTERMSIG(os.waitpid(child, 0)[1]), page[0])
near, far = os.pipe()
os.write(far, b"x")
print(libc.read(near, ctypes.c_void_p(address), 1), ctypes.get_errno())
print(libc.mprotect(address, 4096, RW))
page[0] = 2
print(page[0])
""", check)

    def test_growing_buffers_of_their_own_pages(self):
        def check(run):
            self.assertEqual([e["op"] for e in run.of("b")].count("freed"), 1)
            self.assertEqual(value(run.of("a")[0]["after"]), 5)

        self.check_on_all("""
def main():
    b = watch(bytearray(10), name="b")
    for size in (1, 5000, 3, 100000, 10):
        b[:] = bytes(size)
        b[0] = 7
    print(len(b), b[0])
main()
a = watch(array.array("l", [1]), name="a")
a[0] = 5
a.extend(range(10000))
print(len(a))
""", check)


class OtherEngines(harness.Case):
    STORES = """
import threading
word = watch(ctypes.c_long(0), name="word")
def work():
    for i in range(100):
        word.value = i
threads = [threading.Thread(target=work) for _ in range(2)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
word.value = 4711
print(word.value)
"""
    FORK = """
word = watch(ctypes.c_long(0), name="word")
word.value = 1
if os.fork() == 0:
    word.value = 2
    print(word.value, flush=True)
    os._exit(0)
os.wait()
word.value = 3
print(word.value)
"""

    def check_engine(self, engine, program, check):
        def check_if_there(run):
            process = run.summary["processes"][0]
            if process["engine"] != engine:
                self.assertIn(engine, process["engine_reason"])
                self.skipTest(process["engine_reason"])
            self.assertEqual(process["neighbour_traps"], 0)
            check([event for event in run.of("word") if event["op"] == "write"])

        self.on_all({"program.py": HEAD + program}, check_if_there, users=(None, harness.NOBODY),
                    environment={"WATCHER_ENGINE": engine})

    def test_a_word_in_a_debug_register(self):
        def check(writes):
            self.assertEqual(len(writes), 201)
            self.assertEqual(value(writes[-1]["after"]), 4711)
            self.assertEqual({event["function"] for event in writes}, {"work", "<module>"})
            self.assertEqual(len({event["thread_id"] for event in writes}), 3)

        self.check_engine("hwbp", self.STORES, check)

    def test_a_forked_child_has_debug_registers_of_its_own(self):
        def check(writes):
            self.assertEqual(sorted((value(e["before"]), value(e["after"])) for e in writes), [(0, 1), (1, 2), (1, 3)])

        self.check_engine("hwbp", self.FORK, check)

    def test_samples(self):
        def check(writes):
            self.assertTrue(writes and all(not e["exact"] and e["line"] is None for e in writes))
            self.assertEqual(value(writes[0]["before"]), 0)
            self.assertEqual(value(writes[-1]["after"]), 4711)

        self.check_engine("sampled", self.STORES, check)

    def test_samples_go_on_in_a_forked_child_and_no_thread_is_warned_of(self):
        def check(writes):
            self.assertEqual({value(e["after"]) for e in writes} & {2, 3}, {2, 3})

        self.check_engine("sampled", self.FORK, check)


if __name__ == "__main__":
    harness.main()
