"""Signals reach the program once, and a terminal's job control works through watcher-exec."""

import ctypes
import fcntl
import os
import signal
import struct
import termios
import time
import unittest

from exec_support import PYTHON, ExecTest, Terminal, main, read, until

# Says which signals arrived; ends on SIGTERM.
LISTENER = """
import signal, sys, time
def say(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM: sys.exit(9)
for s in signal.Signals:
    if s not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD): signal.signal(s, say)
print("ready", flush=True)
while True: time.sleep(60)
"""


class Forwarding(ExecTest):
    def listener(self, **options):
        process = self.start(PYTHON, self.write("listener.py", LISTENER), **options)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return process

    def test_every_catchable_signal_is_forwarded_once(self):
        process = self.listener()
        sent = [s for s in signal.Signals if s not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTERM)]
        for number in sent:
            process.send_signal(number)
            self.assertEqual(process.stdout.readline().decode().strip(), number.name)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.stdout.read(), b"SIGTERM\n")
        self.assertEqual(process.wait(), 9)

    def test_queued_signals_keep_their_value(self):
        receiver = ("import ctypes, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {40}); print('ready', flush=True)\n"
                    "info = (ctypes.c_int * 32)()\n"
                    "ctypes.CDLL(None).sigwaitinfo(ctypes.byref((ctypes.c_ulong * 16)(1 << 39)), info)\n"
                    "print(info[2], info[4], info[6])")  # si_code, si_pid, si_value
        process = self.start(PYTHON, "-c", receiver)
        process.stdout.readline()
        self.assertEqual(ctypes.CDLL(None).sigqueue(process.pid, 40, ctypes.c_void_p(1234)), 0)
        self.assertEqual(process.stdout.readline().split(), [b"-1", str(os.getpid()).encode(), b"1234"])

    def test_an_unhandled_signal_ends_both(self):
        process = self.start(PYTHON, "-c", "print('ready', flush=True); import time; time.sleep(60)")
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(5), -signal.SIGTERM)

    def test_what_the_program_sends_to_its_group_is_not_sent_back(self):
        program = ("import os, signal, time\nseen = []\nsignal.signal(signal.SIGUSR1, lambda *a: seen.append(1))\n"
                   "os.kill(0, signal.SIGUSR1)\nend = time.monotonic() + 0.5\n"
                   "while time.monotonic() < end: time.sleep(0.05)\nprint(len(seen))")
        process = self.start(PYTHON, "-c", program, start_new_session=True)
        self.assertEqual(process.stdout.read(), b"1\n")
        self.assertEqual(process.wait(), 0)

    def test_a_burst_of_signals_loses_no_program(self):
        process = self.listener()
        for _ in range(2000):
            process.send_signal(signal.SIGUSR2)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10), 9)

    def test_an_alarm_set_before_the_start_reaches_the_program(self):
        process = self.start("sleep", "60", preexec_fn=lambda: signal.setitimer(signal.ITIMER_REAL, 0.5))
        self.assertEqual(process.wait(10), -signal.SIGALRM)

    def test_an_orphan_does_not_hold_up_the_end(self):
        started = time.monotonic()
        result = self.run_exec("sh", "-c", "sleep 30 >/dev/null 2>&1 & echo $!")
        self.addCleanup(os.kill, int(result.stdout), signal.SIGKILL)
        self.assertEqual(result.returncode, 0)
        self.assertLess(time.monotonic() - started, 10)


@unittest.skipUnless(os.path.exists("/bin/bash"), "needs bash")
class JobControl(ExecTest):
    def setUp(self):
        super().setUp()
        self.write("listener.py", LISTENER)
        self.write("counter.py", "import time\nn = 0\nwhile True:\n    n += 1\n    print('tick', n, flush=True)\n    time.sleep(0.1)\n")
        self.terminal = Terminal(self.directory)
        self.addCleanup(self.terminal.close)

    def test_an_interrupt_arrives_once(self):
        self.terminal.run("$EXEC $PYTHON listener.py")
        self.terminal.expect("ready")
        self.terminal.send("\x03")
        self.terminal.expect("SIGINT")
        self.assertNotIn("SIGINT", self.terminal.drain())
        self.terminal.send("\x1c")
        self.terminal.expect("SIGQUIT")
        self.assertNotIn("SIGQUIT", self.terminal.drain())
        self.terminal.run("")
        os.system(f"kill -TERM $(pgrep -f {self.directory}/listener.py) 2>/dev/null")

    def test_an_unhandled_interrupt_ends_the_job_by_that_signal(self):
        self.terminal.run("$EXEC sleep 60; echo status=$?")
        time.sleep(0.5)
        self.terminal.send("\x03")
        self.terminal.expect("READY> ")
        self.terminal.run("echo status=$?")
        self.terminal.expect("status=130")

    def test_a_script_is_interrupted_as_a_whole(self):
        self.write("script.sh", '"$EXEC" sleep 60\necho went on\n')
        self.terminal.run("sh script.sh; echo status=$?; echo done")
        time.sleep(0.7)
        self.terminal.send("\x03")
        self.terminal.expect("READY> ")
        self.assertNotIn("went on", self.terminal.drain())

    def test_stop_background_foreground(self):
        self.terminal.run("$EXEC $PYTHON counter.py")
        self.terminal.expect("tick 3")
        self.terminal.send("\x1a")
        self.terminal.expect("Stopped")
        self.terminal.expect("READY> ")
        self.assertNotIn("tick", self.terminal.drain(0.5))
        self.terminal.run("bg")
        self.terminal.expect(r"tick \d+")
        self.terminal.run("fg")
        self.terminal.expect(r"tick \d+")
        self.terminal.send("\x1a")
        self.terminal.expect("Stopped")
        self.terminal.run("jobs")
        self.terminal.expect(r"\[1\]\+\s+Stopped")
        self.terminal.run("kill %1; fg")
        self.terminal.expect("Terminated|READY> ")

    def test_a_background_reader_stops_until_it_is_in_the_foreground(self):
        self.terminal.run("$EXEC cat &")
        self.terminal.expect("READY> ")
        time.sleep(0.5)
        self.terminal.run("")
        self.terminal.expect("Stopped")
        self.terminal.run("fg")
        self.terminal.expect("cat")
        time.sleep(0.2)
        self.terminal.run("echoed by cat")
        self.terminal.expect("echoed by cat\r\nechoed by cat")
        self.terminal.send("\x04")
        self.terminal.expect("READY> ")

    def test_a_pipeline_shares_the_terminal(self):
        self.terminal.run("$EXEC echo through | $EXEC sh -c 'read x < /dev/tty; read y; echo got $x and $y'")
        time.sleep(0.7)
        self.terminal.run("typed")
        self.terminal.expect("got typed and through")

    def test_a_resize_arrives_once(self):
        self.terminal.run("$EXEC $PYTHON listener.py")
        self.terminal.expect("ready")
        fcntl.ioctl(self.terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 99, 0, 0))
        self.terminal.expect("SIGWINCH")
        self.assertNotIn("SIGWINCH", self.terminal.drain())
        self.terminal.send("\x1c")

    def test_a_shell_inside_keeps_its_own_jobs(self):
        self.terminal.run("$EXEC bash --norc --noprofile -i")
        self.terminal.run("PS1='INNER> '")
        self.terminal.expect("INNER> .*INNER> |INNER> ")
        self.terminal.run("$PYTHON counter.py")
        self.terminal.expect("tick 2")
        self.terminal.send("\x1a")
        self.terminal.expect("Stopped")
        self.terminal.expect("INNER> ")
        self.terminal.run("kill -9 %1; while jobs %1 2> /dev/null | grep Stopped; do sleep 0.05; done; exit 4")
        self.terminal.run("echo status=$?")
        self.terminal.expect("status=4")

    def test_a_hangup_ends_a_session_leader(self):
        self.terminal.run("echo $$ > pid; exec $EXEC $PYTHON counter.py")
        self.terminal.expect("tick 2")
        program = self.terminal.pid
        os.close(self.terminal.fd)
        self.terminal.fd = os.open("/dev/null", os.O_RDONLY)
        until(lambda: read(f"/proc/{program}/stat").split()[2] == "Z")


main()
