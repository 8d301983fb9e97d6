"""Where nothing is watched nothing happens: the system calls of a program with the shim are those without it, plus what
ld.so itself does to map one more object."""
import collections
import re
import shutil
import sys
import unittest

import shim_support as support

# What ld.so does for an object: open, read its header, fstat, map the segments, close, protect the relocated part.
LOADING = {"openat": 1, "read": 1, "fstat": 1, "newfstatat": 1, "mmap": 5, "close": 1, "mprotect": 1}
# What the kernel's scheduling decides in a program with several threads.
SCHEDULING = {"futex", "sched_yield", "epoll_wait", "epoll_pwait", "madvise", "munmap", "mmap", "mprotect", "brk", "read",
              "write", "rt_sigprocmask", "restart_syscall", "clock_nanosleep"}
# What would give a process a thread, a descriptor, a handler, a file or a process that it did not ask for.
TRACES = {"clone", "clone3", "fork", "vfork", "execve", "rt_sigaction", "sigaltstack", "timer_create", "userfaultfd",
          "socket", "pipe", "pipe2", "eventfd2", "epoll_create1", "memfd_create", "signalfd4", "perf_event_open", "dup",
          "dup2", "dup3", "mkdir", "mkdirat", "ftruncate", "fallocate", "unlink", "write", "writev", "prctl"}

LINE = re.compile(r'^\d+ +(?:<\.\.\. )?(\w+)(?: resumed>|\()(?:[^"]*"([^"]*)")?')


@unittest.skipUnless(shutil.which("strace"), "needs strace")
class Inert(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.installation = support.Installation(support.real_siblings())
        cls.fixed = cls.installation.compile("static", "-static", support.SOURCES / "zoo/animal.c")

    @classmethod
    def tearDownClass(cls):
        cls.installation.remove()

    def trace(self, command, preload):
        """How often each system call, with the path it names, was made by the command and its children."""
        log = self.installation.root / "strace.log"
        setup = ["-E", f"LD_PRELOAD={self.installation.shim}"] if preload else []
        done = support.run(["strace", "-f", "-qq", "-e", "signal=none", "-o", log, *setup, *command])
        calls = collections.Counter()
        for line in log.read_text(errors="replace").splitlines():
            match = LINE.match(line)
            if match and "resumed>" not in line.split("(")[0]:
                name, text = match.groups()
                calls[name, text if name in ("openat", "access", "execve", "readlink") else None] += 1
        return done, calls

    def added(self, command, ignored=()):
        """The calls that are made more often with the shim, (name, path) → how often; asserts equal output."""
        plain, before = self.trace(command, False)
        preloaded, after = self.trace(command, True)
        self.assertEqual(plain, preloaded)
        return {call: count for call, count in (after - before).items() if call[0] not in ignored}

    def assert_only_loaded(self, added, processes):
        """Nothing was added but the mapping of the shim, once in each process image."""
        for (name, path), count in added.items():
            self.assertIn(name, LOADING, added)
            self.assertLessEqual(count, LOADING[name] * processes, added)
            if path is not None:
                self.assertEqual(path, str(self.installation.shim))

    def test_true(self):
        self.assert_only_loaded(self.added(["true"]), 1)

    def test_sh(self):
        self.assert_only_loaded(self.added(["sh", "-c", "read x; echo $x; (exit 3)"]), 1)

    def test_bash_with_a_child(self):
        self.assert_only_loaded(self.added(["bash", "-c", "ls / > /dev/null; echo $?"]), 2)

    def test_git(self):
        self.assert_only_loaded(self.added(["git", "--version"]), 1)

    def test_perl(self):
        self.assert_only_loaded(self.added(["perl", "-e", "$SIG{USR1} = sub {}; kill USR1 => $$; print 1"]), 1)

    def test_static_binary(self):
        self.assertEqual(self.added([self.fixed, "memory"]), {})

    def test_python_disabled(self):
        command = ["env", "WATCHER_DISABLE=1", "python3", "-S", "-c", "import threading; print(threading.active_count())"]
        self.assert_only_loaded(self.added(command), 2)

    @unittest.skipUnless(shutil.which("node"), "needs node")
    def test_node_without_configuration(self):
        added = self.added(["node", "-e", "0"], SCHEDULING)
        self.assertEqual({name for name, _ in added} & (TRACES - {"write"}), set())  # its threads wake each other by writing

    def test_inert_python_has_no_descriptor_thread_or_handler_more(self):
        code = ("import os, signal\n"
                "print(sorted(os.listdir('/proc/self/fd')), os.listdir('/proc/self/task').__len__())\n"
                "print([signal.getsignal(n) for n in sorted(signal.valid_signals())])\n"
                "print([line for line in open('/proc/self/status') if line[:6] in ('SigBlk', 'SigIgn', 'SigCgt')])\n")
        command = ["python3", "-S", "-c", code]
        self.assertEqual(support.run(command), support.run(command, [self.installation.shim]))

    def test_inert_python_makes_no_call_that_leaves_a_trace(self):
        added = self.added(["python3", "-S", "-c", "x = 1; print(x)"])
        self.assertEqual({name for name, _ in added} & TRACES, set())


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
