"""Something is taken away from the host: it goes on as it would without us, and what is missing is said, or counted."""

import os
import pathlib
import signal
import subprocess
import tempfile
import time

import harness

CONFINE = harness.BUILD / "tests" / "behaviour" / "confine"
EPERM, ENOSYS, EACCES = 1, 38, 13
MPROTECT, MEMFD_CREATE, USERFAULTFD, PERF_EVENT_OPEN, PROCESS_VM_READV, MADVISE = 10, 319, 323, 298, 310, 28

PROGRAM = """from watcher import watch
import array, os, resource, signal, subprocess, sys, threading
try:
    import numpy
except ImportError:
    numpy = None

def fork(buf, depth):
    try:
        child = os.fork()
    except OSError as error:
        print(error)
        return 0
    if child == 0:
        buf[depth] = 200 + depth
        os._exit(buf[depth] - 200 - depth + (fork(buf, depth + 1) if depth < 3 else 0))
    return os.waitpid(child, 0)[1]

def main():
    buf = watch(bytearray(64), name="buf")
    numbers = watch(array.array("q", range(32)), name="numbers")
    table = watch(numpy.zeros(16), name="table") if numpy else None
    for i in range(200):
        buf[i % 64] = i % 255 + 1
        numbers[i % 32] = i
    if numpy:
        table[3] = 2.5
        print(table.sum())
    name = watch(1, name="name")
    name = name + 1
    threads = []
    for k in range(2):
        try:
            threads.append(threading.Thread(target=lambda k=k: buf.__setitem__(k, 7)))
            threads[-1].start()
            threads[-1].join()
        except RuntimeError as error:
            print(error)
    sys.stdout.flush()
    print(fork(buf, 2), buf[2], buf[3])
    print(buf.hex(), list(numbers), name)
    print(signal.getsignal(signal.SIGSEGV), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    print([resource.getrlimit(getattr(resource, "RLIMIT_" + limit)) for limit in ("NOFILE", "AS", "FSIZE")])
    try:
        print(os.open("/", os.O_RDONLY))
    except OSError as error:
        print(error)
    sys.stderr.write("to stderr\\n")
    return 3
sys.exit(main())
"""
STORES = 404  # to buf and numbers, those of the threads and of child and grandchild included


class Degradation(harness.Case):
    def confined(self, conditions, command, environment, user=None):
        env = {key: text for key, text in os.environ.items() if not key.startswith("WATCHER_")}
        env.update(environment)
        prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        return subprocess.run([*prefix, str(CONFINE), *conditions, "--", *command], cwd=self.directory, env=env,
                              capture_output=True, timeout=60)

    def check(self, *conditions, stores=STORES, user=None, settings=None, output=None, kept_output=False, processes=1,
              seconds=20):
        """`stores`: that many events, or None: what is there is well-formed. Returns the watched runs."""
        program = self.write({"program.py": PROGRAM})
        stub = self.directory / "stub-package"
        stub.mkdir(exist_ok=True)
        (stub / "watcher.py").write_text(harness.STUB)
        runs = []
        for version, python in self.interpreters(user):
            out = output or pathlib.Path(tempfile.mkdtemp(prefix="out-", dir=self.directory))
            if user and not kept_output:
                os.chown(out, user, user)
            conditions_here = [condition.replace("OUTPUT", str(out)) for condition in conditions]
            command = [python, "-B", str(program)]
            plain = self.confined(conditions_here, command, {"PYTHONPATH": str(stub)}, user)
            if plain.returncode == 77:
                self.skipTest(plain.stderr.decode().strip())
            start = time.monotonic()
            watched = self.confined(conditions_here, command, {
                "LD_PRELOAD": str(harness.BUILD / "preload" / "libwatcher_preload.so"), "WATCHER_OUTPUT": str(out),
                **(settings or {})}, user)
            with self.subTest(python=python, conditions=conditions_here):
                self.assertLess(time.monotonic() - start, seconds, "the host stood still")
                self.assertEqual(watched.stdout.decode(), plain.stdout.decode())
                said = watched.stderr.decode().splitlines()
                ours = [line for line in said if line.startswith("watcher: ")]
                self.assertEqual([line for line in said if line not in ours], plain.stderr.decode().splitlines())
                self.assertLessEqual(len(ours), len(set(ours)) * processes, "said twice")
                self.assertEqual(watched.returncode, plain.returncode)
                run = harness.Run(watched, out)
                writes = [event for event in run.events if event["op"] == "write" and event["variable_name"] != "table"]
                if stores is not None:
                    self.assertEqual(len(writes), stores, ours)
                run.ours = ours
                runs.append(run)
        return runs

    @staticmethod
    def interpreters(user):
        return [pair for pair in harness.INTERPRETERS if not user or harness.readable_by_others(pair[1])][-2:]

    def test_without_proc_self_mem(self):
        self.check("nomem")

    def test_without_proc(self):
        self.check("noproc")

    def test_five_descriptors(self):
        for user in (None, harness.NOBODY):
            self.check("nofile=5", stores=None, processes=3, user=user, seconds=10)  # not 5 s for each process

    def test_little_address_space(self):
        for megabytes in (400, 200):
            self.check(f"as={megabytes << 20}", stores=None)

    def test_small_files_only(self):
        for size in (0, 4096, 65536):
            self.check(f"fsize={size}", stores=0)
        for run in self.check(f"fsize={1 << 20}"):
            self.assertEqual(len(run.ours), 1)  # that the queue is smaller

    def test_no_more_processes(self):
        self.check("nproc=1", user=harness.NOBODY, stores=None)

    def test_sigtrap_blocked(self):
        self.check(f"block={int(signal.SIGTRAP)}")

    def test_sigtrap_ignored(self):
        self.check(f"ignore={int(signal.SIGTRAP)}")

    def test_sigsegv_ignored(self):
        self.check(f"ignore={int(signal.SIGSEGV)}")

    def test_sigsegv_blocked(self):
        self.check(f"block={int(signal.SIGSEGV)}")

    def test_sigbus_and_sigchld_ignored(self):
        self.check(f"ignore={int(signal.SIGBUS)}", f"ignore={int(signal.SIGCHLD)}")

    def test_output_that_cannot_be_written(self):
        locked = self.directory / "locked"
        locked.mkdir(mode=0o555)
        for run in self.check(user=harness.NOBODY, stores=0, output=locked, kept_output=True):
            self.assertEqual(len(run.ours), 1)

    def test_output_that_is_a_file(self):
        file = self.directory / "file"
        file.write_text("")
        for run in self.check(stores=0, output=file):
            self.assertEqual(len(run.ours), 1)

    def test_full_disk(self):
        for size in (0, 65536, 3 << 20):
            self.check(f"tmpfs=OUTPUT,{size or 4096}", stores=None)

    def test_system_calls_refused(self):
        for call in (MEMFD_CREATE, USERFAULTFD, PERF_EVENT_OPEN, PROCESS_VM_READV):
            for error in (EPERM, ENOSYS):
                for engine in ("inline", "uffd"):
                    self.check(f"deny={call},{error}", settings={"WATCHER_ENGINE": engine})

    def test_madvise_refused(self):
        self.check(f"deny={MADVISE},{EPERM}", stores=None)

    def test_executable_memory_refused(self):
        self.check("noexec")
        self.check("noexec", f"deny={MEMFD_CREATE},{EPERM}")


if __name__ == "__main__":
    harness.main()
