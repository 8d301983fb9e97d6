"""The uffd engine, chosen by `auto`: unmodified programs whose system calls nobody interposes, and hosts that take away
what the engine needs."""

import os
import unittest

import harness

HEAD = """from watcher import watch
import ctypes, os, resource, signal, struct, sys, threading, time, warnings
warnings.simplefilter("always")
libc = ctypes.CDLL(None, use_errno=True)

def deny(*calls):
    "From now on these system calls fail with EPERM: numbers, or (ioctl, request)."
    code = []
    for call in calls:
        number, request = call if isinstance(call, tuple) else (call, None)
        rest = 2 if request is None else 4
        code.append(struct.pack("HBBI", 0x20, 0, 0, 0) + struct.pack("HBBI", 0x15, 0, rest - 1, number))
        if request is not None:
            code.append(struct.pack("HBBI", 0x20, 0, 0, 24) + struct.pack("HBBI", 0x15, 0, 1, request))
        code.append(struct.pack("HBBI", 0x06, 0, 0, 0x00050001))
    code = b"".join(code) + struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
    text = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(text)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, program, 0, 0) == 0

def address(buffer, at=0):
    return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(buffer, at)))

def signal_handlers(number):
    "Sends it to the engine's handler process, known by the memory it shares with us."
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name = open("/proc/%s/comm" % pid).read().strip()
        except OSError:
            continue
        if name == "watcher-uffd" and libc.syscall(312, os.getpid(), int(pid), 1, 0, 0) == 0:
            os.kill(int(pid), number)

"""
FIRST = HEAD.count("\n") + 1
USERFAULTFD, PERF_EVENT_OPEN, BPF, IOCTL_NEW = 323, 298, 321, (16, 0xAA00)


def replay(case, events, content):
    content = bytearray(content)
    for event in events:
        for delta in event["deltas"]:
            if "offset" in delta:
                case.assertEqual(content[delta["offset"]], int(delta["before"], 16), event)
                content[delta["offset"]] = int(delta["after"], 16)
    return content


def has_uffd():
    return os.getuid() == 0 and os.path.exists("/dev/userfaultfd")


class UffdCase(harness.Case):
    def setUp(self):
        super().setUp()
        everything, harness.INTERPRETERS[:] = list(harness.INTERPRETERS), harness.INTERPRETERS[:1] + harness.INTERPRETERS[-1:]
        self.addCleanup(harness.INTERPRETERS.__setitem__, slice(None), everything)

    def run_program(self, text, check, **settings):
        self.on_all({"program.py": HEAD + text}, check, **settings)

    def assert_engine(self, run, name, reason=""):
        process = [process for process in run.summary["processes"] if process["engine"]][-1]
        self.assertEqual(process["engine"], name, process)
        self.assertIn(reason, process["engine_reason"])


@unittest.skipUnless(has_uffd(), "no full-privilege userfaultfd here")
class Privileged(UffdCase):
    def test_raw_system_calls_into_a_watched_buffer_are_events_with_their_line(self):
        def check(run):
            self.assert_engine(run, "uffd")
            events = run.of("buf")
            self.assertEqual([(event["op"], event["line"] - FIRST, event["exact"]) for event in events],
                             [("kernel_write", 4, True), ("write", 5, True), ("kernel_write", 6, True)])
            self.assertEqual(replay(self, events, bytes(64)).hex(), run.stdout.decode().splitlines()[-1])

        self.run_program("""buf = watch(bytearray(64), name="buf")
ends = os.pipe()
os.write(ends[1], b"hello")
at = address(buf)
print(libc.syscall(0, ends[0], at, 5))
buf[10] = 3
print(libc.syscall(17, os.open(__file__, 0), address(buf, 20), 16, 0))
print(buf.hex())
""", check)

    def test_fork_warns_of_nothing_and_both_go_on(self):
        def check(run):
            self.assert_engine(run, "uffd")
            events = run.of("buf")
            self.assertEqual(sorted(event["line"] - FIRST for event in events), [1, 4, 7])
            self.assertEqual(len({event["pid"] for event in events}), 2)

        self.run_program("""buf = watch(bytearray(64), name="buf")
buf[0] = 1
child = os.fork()
if child == 0:
    buf[1] = 2
    os._exit(buf[2])
print(os.waitpid(child, 0)[1], len(os.listdir("/proc/self/task")))
buf[2] = 3
try:
    os.wait()
except ChildProcessError as error:
    print(error, buf.hex())
""", check)

    def test_fork_while_another_thread_is_in_a_system_call_that_writes(self):
        """The handler works beside the fork: the child must not wait for what the parent's had locked."""
        def check(run):
            written = [event["after"]["value"] for event in run.events if event["op"] == "write"]
            self.assertEqual(sorted(written), list(range(60)), run.stderr)

        self.run_program("""
buffer = watch(bytearray(64), name="buffer")
zeros = os.open("/dev/zero", os.O_RDONLY)
going = True

def fill():
    where = address(buffer, 32)
    while going:
        libc.syscall(0, zeros, where, ctypes.c_size_t(8))

fillers = [threading.Thread(target=fill) for _ in range(2)]
for filler in fillers:
    filler.start()
warnings.simplefilter("ignore")  # fork beside threads: from 3.12 on
for i in range(60):
    if os.fork() == 0:
        buffer[0] = i
        os._exit(buffer[0] - i)
    if os.wait()[1] != 0:
        print("the child failed")
going = False
for filler in fillers:
    filler.join()
print("done")
""", check)

    def test_without_perf_events_or_programs_kernel_stores_are_still_told(self):
        def check(run):
            self.assert_engine(run, "uffd")
            self.assertEqual(replay(self, run.of("buf"), bytes(64)).hex(), run.stdout.decode().splitlines()[-1])
            self.assertIn("kernel_write", {event["op"] for event in run.of("buf")})

        for denied in (f"{PERF_EVENT_OPEN}, {BPF}", f"{PERF_EVENT_OPEN}", f"{BPF}"):
            self.run_program(f"""deny({denied})
buf = watch(bytearray(64), name="buf")
ends = os.pipe()
for i in range(20):
    os.write(ends[1], b"hello%d" % i)
    print(libc.syscall(0, ends[0], address(buf, i), 10))
    buf[50] = i
time.sleep(.2)
print(buf.hex())
""", check)

    def losing_the_handler(self, number):
        def check(run):
            self.assertIn(b"handler process was killed", run.stderr)
            self.assert_engine(run, "inline", "was killed")
            late = [event for event in run.of("buf") if event["line"] - FIRST == 10]
            self.assertEqual([event["path"] for event in late], [[i] for i in range(32, 40)])

        program = self.write({"program.py": HEAD + f"""buf = watch(bytearray(64), name="buf")
def hammer(index):
    for i in range(600):
        buf[index] = i % 250 + 1
        if index == 0 and i == 100:
            signal_handlers({int(number)})
threads = [threading.Thread(target=hammer, args=(index,)) for index in range(4)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
time.sleep(.5)
for i in range(32, 40):
    buf[i] = 1
print(buf.hex())
"""})
        for _, python in harness.INTERPRETERS:
            for preload in (False, True):
                with self.subTest(python=python, preload=preload):
                    plain, watched = self.plain(python, program), self.watched(python, program, preload=preload)
                    self.assertEqual((watched.stdout, watched.status), (plain.stdout, plain.status), watched.stderr)
                    check(watched)

    def test_a_handler_that_is_killed_is_replaced_and_reported(self):
        self.losing_the_handler(9)

    def test_a_handler_that_is_stopped_is_replaced_and_reported(self):
        self.losing_the_handler(19)

    def test_a_host_that_may_have_few_descriptors(self):
        self.run_program("""resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))
buf = watch(bytearray(64), name="buf")
buf[0] = 1
buf[1] = 2
print(buf.hex())
""", lambda run: self.assertEqual([event["path"] for event in run.of("buf")], [[0], [1]]))


class Denied(UffdCase):
    PROGRAM = f"""deny({USERFAULTFD}, {PERF_EVENT_OPEN}, {IOCTL_NEW})
buf = watch(bytearray(64), name="buf")
buf[0] = 1
ends = os.pipe()
os.write(ends[1], b"hello")
print(os.readv(ends[0], [memoryview(buf)[8:]]), buf.hex())
"""

    def check(self, run):
        self.assert_engine(run, "inline", "no full-privilege userfaultfd: ")
        self.assertEqual([event["op"] for event in run.of("buf")], ["write", "kernel_write"])

    def test_a_host_whose_filter_denies_the_engine_is_watched_inline(self):
        self.run_program(self.PROGRAM, self.check, users=(None, harness.NOBODY))

    def test_the_choice_is_said_once_when_asked_for(self):
        program = self.write({"program.py": HEAD + self.PROGRAM})
        run = self.watched("/usr/bin/python3", program, environment={"WATCHER_LOG_LEVEL": "INFO"})
        self.assertEqual(run.stderr.count(b"engine inline: no full-privilege userfaultfd: "), 1, run.stderr)


if __name__ == "__main__":
    harness.main()
