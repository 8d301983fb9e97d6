"""watcher-exec as process 1 of a container: statuses, orphans, signals."""

import os
import shutil
import signal
import subprocess
import time
import unittest

from exec_support import PYTHON, ExecTest, clean_environment, main, read

UNSHARE = ["unshare", "-pf", "--mount-proc"] if os.geteuid() == 0 else ["unshare", "-Urpf", "--mount-proc"]


def can_unshare():
    return shutil.which("unshare") and subprocess.call(UNSHARE + ["true"], stderr=subprocess.DEVNULL) == 0


@unittest.skipUnless(can_unshare(), "no pid namespaces here")
class Init(ExecTest):
    def inside(self, *arguments):
        return subprocess.run(UNSHARE + self.command(*arguments), capture_output=True, env=clean_environment(),
                              cwd=self.directory, timeout=120)

    def test_it_is_process_1(self):
        self.assertEqual(self.inside("sh", "-c", "cat /proc/1/comm; echo $PPID").stdout, b"watcher-exec\n1\n")

    def test_every_exit_code(self):
        for code in range(256):
            status = subprocess.call(UNSHARE + self.command("sh", "-c", f"exit {code}"), env=clean_environment())
            self.assertEqual(status, code)

    def test_fatal_signals_become_128_and_their_number(self):
        for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGPIPE):
            self.assertEqual(self.inside("sh", "-c", f"kill -{number.value} $$").returncode, 128 + number)

    def test_a_thousand_orphans_are_reaped(self):
        program = """
import os, time
for _ in range(1000):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(0.01)
        os._exit(0)
    os.wait()
def alive():
    return [p for p in os.listdir('/proc') if p.isdigit() and int(p) > 1 and int(p) != os.getpid()]
end = time.monotonic() + 20
while alive() and time.monotonic() < end: time.sleep(0.05)
print(len(alive()))
"""
        result = self.inside(PYTHON, "-c", program)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"0\n", b""))

    def test_it_is_ended_from_outside_at_once(self):
        program = "import signal, sys; signal.signal(signal.SIGTERM, lambda *a: sys.exit(3)); print('ready', flush=True); signal.pause()"
        process = subprocess.Popen(UNSHARE + self.command(PYTHON, "-c", program), stdout=subprocess.PIPE,
                                   env=clean_environment(), cwd=self.directory)
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        child = int(read(f"/proc/{process.pid}/task/{process.pid}/children").split()[0])
        started = time.monotonic()
        os.kill(child, signal.SIGTERM)
        self.assertEqual(process.wait(), 3)
        self.assertLess(time.monotonic() - started, 1)

    def test_a_signal_from_inside_to_process_1_reaches_the_program(self):
        program = ("import os, signal, sys, time; signal.signal(signal.SIGTERM, lambda *a: sys.exit(4)); "
                   "os.kill(1, signal.SIGTERM); time.sleep(20)")
        self.assertEqual(self.inside(PYTHON, "-c", program).returncode, 4)

    def test_it_ends_with_the_program_whatever_still_runs(self):
        started = time.monotonic()
        self.assertEqual(self.inside("sh", "-c", "(trap '' TERM; sleep 30) & exit 8").returncode, 8)
        self.assertLess(time.monotonic() - started, 15)


main()
