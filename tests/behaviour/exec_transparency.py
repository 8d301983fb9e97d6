"""What the program gets: its arguments, descriptors, environment and signal state, as without watcher-exec."""

import json
import os
import re
import resource
import signal
import subprocess

from exec_support import EXEC, PYTHON, ExecTest, clean_environment, main, read

SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


class Transparency(ExecTest):
    def shown(self, *options, **more):
        result = self.run_exec(*options, PYTHON, "-S", "-c", SHOW, **more)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return json.loads(result.stdout)[1]

    def test_arguments_arrive_verbatim(self):
        arguments = ["--engine", "x", "--", "-c", "", "a b", "\t\n", "'\"\\$*", "ü漢", "--set", "--help", "--output=1"]
        for marks in ([], ["--"]):
            result = self.run_exec(*marks, PYTHON, "-c", SHOW, *arguments)
            self.assertEqual(json.loads(result.stdout)[0], arguments)

    def test_a_program_whose_name_looks_like_an_option_follows_two_dashes(self):
        self.write("-x", "#!/bin/sh\necho $0\n", 0o755)
        environment = clean_environment(PATH=f"{self.directory}:{os.environ['PATH']}")
        result = self.run_exec("--", "-x", env=environment)
        self.assertEqual(result.stdout, f"{self.directory}/-x\n".encode())

    def test_stdin_and_stdout_pass_through(self):
        data = os.urandom(3 << 20)
        result = self.run_exec("cat", input=data)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, data, b""))

    def test_a_pipe_ends_when_the_program_closes_it(self):
        process = self.start("sh", "-c", "exec >&-; sleep 60", stdin=subprocess.PIPE)
        self.addCleanup(process.stdin.close)
        self.assertEqual(process.stdout.read(), b"")
        self.assertIsNone(process.poll())

    def test_stderr_is_the_programs_alone(self):
        self.assertEqual(self.run_exec("sh", "-c", "echo problem >&2").stderr, b"problem\n")

    def test_options_reach_the_program_as_environment(self):
        scope = self.write("scope.txt", "app.py:(local:x)\n")
        seen = self.shown("--engine", "inline", "--track-sql", "--set", "max_queue_size=4096", "--files-scope", "scope.txt")
        self.assertEqual(seen["WATCHER_ENGINE"], "inline")
        self.assertEqual(seen["WATCHER_TRACK_SQL"], "true")
        self.assertEqual(seen["WATCHER_MAX_QUEUE_SIZE"], "4096")
        self.assertEqual(seen["WATCHER_FILES_SCOPE"], scope)
        self.assertEqual(seen["WATCHER_OUTPUT"], self.output)
        self.assertRegex(seen["WATCHER_RUN_ID"], "^[0-9a-f]{16}$")
        self.assertGreater(int(seen["WATCHER_COLLECTOR_PID"]), 1)
        self.assertNotIn("WATCHER_CONFIG", seen)
        self.assertNotIn("WATCHER_BURST", seen)

    def test_paths_become_absolute(self):
        config = self.write("watcher.toml", "output = 'from_file'\n")
        seen = self.shown("--output", "relative")
        self.assertEqual((seen["WATCHER_OUTPUT"], seen["WATCHER_CONFIG"]), (self.path("relative"), config))
        os.mkdir(self.path("below"))
        result = subprocess.run([EXEC, "--config", "../watcher.toml", "env"], cwd=self.path("below"), capture_output=True,
                                text=True, env=clean_environment())
        self.assertIn(f"WATCHER_OUTPUT={self.directory}/below/../from_file\n", result.stdout)

    def test_the_command_line_goes_over_the_environment(self):
        seen = self.shown("--engine", "uffd", env=clean_environment(WATCHER_ENGINE="hwbp", WATCHER_BURST="off"))
        self.assertEqual((seen["WATCHER_ENGINE"], seen["WATCHER_BURST"]), ("uffd", "off"))

    def test_the_shim_is_appended_to_what_is_preloaded(self):
        libc = next(line.split()[-1] for line in read("/proc/self/maps").splitlines() if re.search(r"libm[.-]|libz\.so", line))
        shim = self.shown()["LD_PRELOAD"]
        self.assertTrue(os.path.isabs(shim) and os.path.exists(shim), shim)
        self.assertEqual(os.path.basename(shim), "libwatcher_preload.so")
        for before in (libc, f"{libc} {libc}"):
            seen = self.shown(env=clean_environment(LD_PRELOAD=before))
            self.assertEqual(seen["LD_PRELOAD"], f"{before}:{shim}")
        self.assertEqual(self.shown(env=clean_environment(LD_PRELOAD=shim))["LD_PRELOAD"], shim)

    def test_the_rest_of_the_environment_is_untouched(self):
        plain = clean_environment(ODD="a=b\n", EMPTY="")
        seen = self.shown(env=plain)
        added = {"LD_PRELOAD", "WATCHER_OUTPUT", "WATCHER_RUN_ID", "WATCHER_COLLECTOR_PID"}
        self.assertEqual({k: v for k, v in seen.items() if k not in added and k != "LC_CTYPE"},
                         {k: v for k, v in plain.items() if k != "LC_CTYPE"})

    def test_an_empty_environment_is_enough(self):
        result = self.run_exec("sh", "-c", "echo fine", env={})
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"fine\n", b""))

    def test_nothing_is_left_open_in_the_program(self):
        plain = subprocess.run(["sh", "-c", "ls /proc/self/fd"], capture_output=True, env=clean_environment()).stdout
        result = self.run_exec("sh", "-c", "ls /proc/self/fd")
        self.assertEqual(result.stdout, plain)

    def test_closed_standard_descriptors_stay_closed(self):
        probe = self.write("probe.sh", f"for n in 0 1 2; do [ -e /proc/$$/fd/$n ] && echo $n >> {self.path('open')}; done; exit 5\n")
        line = 'exec "$@" <&- >&- 2>&-'
        status = subprocess.call(["sh", "-c", line, "sh", *self.command("sh", probe)], env=clean_environment())
        self.assertEqual(status, 5)
        self.assertFalse(os.path.exists(self.path("open")))

    def test_no_message_ends_up_in_a_file_of_ours_when_stderr_is_closed(self):
        subprocess.call(["sh", "-c", 'exec "$@" 2>&-', "sh", *self.command("sh", "-c", "exit 0")], env=clean_environment())
        with open(os.path.join(self.output, "events.jsonl"), "rb") as file:
            self.assertEqual(file.read(), b"")

    def test_five_descriptors_are_enough(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))
        result = self.run_exec("sh", "-c", "ulimit -n; exit 6", preexec_fn=limit)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (6, b"5\n", b""))

    def test_the_signal_state_is_handed_on(self):
        def prepare():
            signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1, signal.SIGTERM})
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)

        lines = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]
        plain = subprocess.run(lines, capture_output=True, preexec_fn=prepare, restore_signals=False)
        result = self.run_exec(*lines, preexec_fn=prepare, restore_signals=False)
        self.assertEqual((result.returncode, result.stdout), (0, plain.stdout))

    def test_replace_becomes_the_program(self):
        process = self.start("--replace", PYTHON, "-S", "-c", "import os; print(os.getpid()); " + SHOW)
        out, err = process.communicate()
        pid, shown = out.splitlines()
        seen = json.loads(shown)[1]
        self.assertEqual((int(pid), err), (process.pid, b""))
        self.assertIn("WATCHER_RUN_ID", seen)
        self.assertIn("libwatcher_preload.so", seen["LD_PRELOAD"])
        self.assertNotIn("WATCHER_COLLECTOR_PID", seen)
        self.assert_refused(self.run_exec("--replace", "nonesuch"), 127)

    def test_disabled_means_the_bare_program(self):
        result = self.run_exec("env", env=clean_environment(WATCHER_DISABLE="1"))
        self.assertNotIn(b"LD_PRELOAD", result.stdout)
        self.assertFalse(os.path.exists(self.output))

    def test_a_mistyped_variable_gets_a_word(self):
        result = self.run_exec("true", env=clean_environment(WATCHER_ENGIN="uffd"))
        self.assertEqual(result.returncode, 0)
        self.assertIn(b"did you mean WATCHER_ENGINE?", result.stderr)


main()
