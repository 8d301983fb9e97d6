"""Signals of the host while its memory is watched: handlers, masks, alternate stacks, and the deaths it would have died."""

import harness

HEAD = """from watcher import watch
import ctypes, faulthandler, os, signal, sys, threading
buf = watch(bytearray(64), name="buf")
buf[0] = 1
"""


class Signals(harness.Case):
    def check_on_all(self, program, stores, **settings):
        def check(run):
            changed = [event for event in run.of("buf") if event["op"] == "write" and event["deltas"]]
            self.assertEqual(len(changed), stores)

        self.on_all({"program.py": HEAD + program}, check, users=(None, harness.NOBODY), **settings)

    def test_faulthandler_dumps_on_demand(self):
        self.check_on_all("""
faulthandler.enable()
faulthandler.register(signal.SIGUSR1, all_threads=False)
def work():
    os.kill(os.getpid(), signal.SIGUSR1)
    buf[1] = 2
    faulthandler.dump_traceback(all_threads=False)
work()
faulthandler.unregister(signal.SIGUSR1)
faulthandler.disable()
buf[2] = 3
""", 3)

    def test_a_crash_under_faulthandler_is_reported_and_kills(self):
        self.check_on_all("""
faulthandler.enable()
buf[1] = 2
sys.stdout.flush()
ctypes.string_at(8)
""", 2)

    def test_a_crash_with_the_signal_ignored_kills(self):
        self.check_on_all("""
signal.signal(signal.SIGSEGV, signal.SIG_IGN)
os.kill(os.getpid(), signal.SIGSEGV)
buf[1] = 2
print(signal.getsignal(signal.SIGSEGV), flush=True)
ctypes.string_at(8)
""", 2)

    def test_every_signal_blocked_in_a_thread(self):
        self.check_on_all("""
def blocked():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    buf[4] = 1
    print(sorted(before), len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
thread = threading.Thread(target=blocked)
thread.start(); thread.join()
print(buf[4])
""", 2)

    def test_a_small_alternate_stack(self):
        self.check_on_all("""
class Stack(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("flags", ctypes.c_int), ("bytes", ctypes.c_size_t)]
libc = ctypes.CDLL(None)
area = (ctypes.c_ubyte * 8192)()
def set_stack():
    mine, told = Stack(ctypes.addressof(area) + 4096, 0, 4096), Stack()
    print(libc.sigaltstack(ctypes.byref(mine), None), libc.sigaltstack(None, ctypes.byref(told)))
    print(told.base == mine.base, told.bytes, told.flags)
    for i in range(50):
        buf[1] = i + 1
    print(any(area[:4096]))
    print(libc.sigaltstack(ctypes.byref(Stack(None, 2, 0)), ctypes.byref(told)), told.bytes)
thread = threading.Thread(target=set_stack)
thread.start(); thread.join()
""", 51)


if __name__ == "__main__":
    harness.main()
