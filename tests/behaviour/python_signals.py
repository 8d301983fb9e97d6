"""Python programs that live with signals of their own beside watched memory: faulthandler, timers, deaths."""

import re
import signal

import harness

HEAD = """from watcher import watch
import ctypes, faulthandler, os, signal, sys, time

def hammer(buf, count):
    for i in range(count):
        buf[i % len(buf)] = i % 255 + 1
"""
CRASHES = {
    "null": "ctypes.string_at(8)",
    "abort": "os.abort()",
    "bus": "os.kill(os.getpid(), signal.SIGBUS)",
    "trap": "os.kill(os.getpid(), signal.SIGTRAP)",
    "fpe": "signal.raise_signal(signal.SIGFPE)",
    "term": "signal.raise_signal(signal.SIGTERM)",
}


def writes(run):
    return [event for event in run.of("buf") if event["op"] == "write"]


class Signals(harness.Case):
    def assert_same_host(self, plain, watched):
        # faulthandler names threads by their address
        for run in (plain, watched):
            run.stderr = re.sub(rb"[Tt]hread 0x[0-9a-f]+", b"thread", run.stderr)
        super().assert_same_host(plain, watched)

    def test_a_crash_is_faulthandlers_and_keeps_its_signal(self):
        for name, crash in CRASHES.items():
            for handler in ("faulthandler.enable()", "")[:2 if name == "null" else 1]:
                def check(run):
                    self.assertLess(run.status, 0)
                    self.assertEqual(len(writes(run)), 300)

                with self.subTest(crash=name, handler=handler):
                    self.on_all({"program.py": HEAD + f"""
def main():
    buf = watch(bytearray(64), name="buf")
    hammer(buf, 100)
    {handler or 'pass'}
    hammer(buf, 200)
    {crash}
main()
"""}, check)

    def test_faulthandler_is_enabled_and_disabled_as_the_program_wants(self):
        def check(run):
            self.assertEqual(run.status, -signal.SIGSEGV)
            self.assertEqual(len(writes(run)), 400)

        self.on_all({"program.py": HEAD + """
def main():
    buf = watch(bytearray(64), name="buf")
    for _ in range(4):
        faulthandler.enable()
        hammer(buf, 50)
        print(faulthandler.is_enabled())
        faulthandler.disable()
        hammer(buf, 50)
        print(signal.getsignal(signal.SIGSEGV))
    sys.stdout.flush()
    ctypes.string_at(8)
main()
"""}, check)

    def test_python_handlers_and_timers_at_a_thousand_a_second(self):
        def check(run):
            # Counted by stores, not by value: a handler that interrupts another one's `ticks += 1` is lost to the program.
            ticks = sum(event["after"]["value"] != 0 for event in run.of("ticks"))
            self.assertGreater(ticks, 0)
            stores = [event for event in writes(run) if event["deltas"] and event["deltas"][0]["offset"] < 64]
            self.assertEqual(len(stores), 3000)
            self.assertEqual(len(writes(run)) - len(stores), ticks)

        self.on_all({"program.py": HEAD + """
ticks = 0

def main():
    global ticks
    ticks = watch(0, name="ticks")
    buf = watch(bytearray(65), name="buf")

    def tick(number, frame):
        global ticks
        ticks += 1
        buf[64] = ticks % 255 + 1

    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for i in range(3000):
        buf[i % 64] = i % 251 + 1 + (i // 64) % 2
        if i % 100 == 0:
            time.sleep(0.001)
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("done")
main()
"""}, check)


if __name__ == "__main__":
    harness.main()
