"""Every interposer with a runtime behind it: the host's own results stay the same when its buffers are redirected.

The host (shim/host.cpp) looks like Python to the shim; the runtime (shim/fake_runtime.cpp) moves all bytes through a bounce
buffer while the host's region is read-only, so a call that is not redirected fails or dies.
"""
import re
import sys
import unittest

import shim_support as support

HOST = support.BUILD / "tests/behaviour/shim_host"
FAKE_RUNTIME = support.BUILD / "tests/behaviour/libshim_fake_runtime.so"

# by system call number on x86-64
READ, PREAD, READV, RECVFROM, RECVMSG, PREADV, GETRANDOM, PREADV2 = 0, 17, 19, 45, 47, 295, 318, 327


class Hooks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.installation = support.Installation()
        cls.installation.add(FAKE_RUNTIME, "libwatcher_runtime.so")

    @classmethod
    def tearDownClass(cls):
        cls.installation.remove()

    def run_watched(self, scenario, **extra):
        report = self.installation.root / f"{scenario}.report"
        report.unlink(missing_ok=True)
        env = support.environment(SHIM_TEST_PROTECT=1, SHIM_TEST_REPORT=report, **extra)
        result = support.run([HOST, scenario], [self.installation.shim], env)
        return result, report.read_text().splitlines() if report.exists() else []

    def assert_same(self, scenario):
        plain = support.run([HOST, scenario])
        watched, report = self.run_watched(scenario)
        self.assertEqual(plain[0], 5, plain)
        self.assertEqual(plain, watched)
        self.assertRegex(report[0], "^attached host 1 directory .* version 3 3 sizes 1$")
        return report

    def assert_redirected(self, scenario, *calls):
        numbers = dict(map(int, pair.split(":")) for pair in re.findall(r"\d+:\d+", self.assert_same(scenario)[-1]))
        for call in calls:
            self.assertGreater(numbers.get(call, 0), 0, f"system call {call} was not redirected in {scenario}")

    def test_single_buffers(self):
        self.assert_redirected("reading", READ, PREAD, GETRANDOM)

    def test_scattered_buffers(self):
        self.assert_redirected("scatter", READV, PREADV, PREADV2)

    def test_sockets(self):
        self.assert_redirected("receiving", RECVFROM, RECVMSG)

    def test_streams(self):
        self.assert_redirected("stream", READ)

    def test_lines(self):
        self.assert_redirected("line", READ)

    def test_interrupted_and_cancelled_calls(self):
        self.assert_same("interruption")

    def test_memory_of_others_is_forwarded(self):
        self.assert_same("memory")

    def test_the_host_sees_the_mask_it_set(self):
        self.assert_same("mask")

    def test_the_host_sees_the_handlers_it_set_and_a_vfork_child_changes_none(self):
        self.assert_same("handler")

    def test_the_host_sees_the_masks_of_its_handlers_and_waits_with_its_own(self):
        self.assert_same("handler_mask")

    def test_older_names_answer_as_libc_does(self):
        self.assert_same("old_names")

    def test_leaving_is_told_once_a_process_and_never_in_a_vfork_child(self):
        report = self.assert_same("process")
        self.assertEqual([line.split()[1] for line in report[1:]], ["8", "5"])

    def test_signals_and_memory_that_the_runtime_claims(self):
        (status, output, errors), _ = self.run_watched("let_through")
        self.assertEqual((status, errors), (5, b""))
        self.assertEqual(output.decode().splitlines(),
                         ["handled 1", "usable 4096", "errno 77", "moved 1", "moved again 1"])

    def test_disabled_nothing_is_attached(self):
        _, report = self.run_watched("memory", WATCHER_DISABLE=1)
        self.assertEqual(report, [])

    def test_other_values_of_disable_do_not_disable(self):
        _, report = self.run_watched("memory", WATCHER_DISABLE=0)
        self.assertEqual(len(report), 2)


class MissingRuntime(unittest.TestCase):
    def setUp(self):
        self.installation = support.Installation()
        self.addCleanup(self.installation.remove)

    def errors(self, level):
        result = support.run([HOST, "memory"], [self.installation.shim], support.environment(WATCHER_LOG_LEVEL=level))
        self.assertEqual(result[:2], support.run([HOST, "memory"])[:2])
        return result[2].decode()

    def test_is_silent(self):
        self.assertEqual(self.errors("INFO"), "")

    def test_is_told_when_debugging(self):
        self.assertIn("no runtime beside the shim", self.errors("DEBUG"))

    def test_a_broken_one_is_told_when_debugging(self):
        (self.installation.root / "libwatcher_runtime.so").write_bytes(b"no shared object")
        self.assertEqual(self.errors("INFO"), "")
        self.assertIn("cannot load the runtime", self.errors("DEBUG"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
