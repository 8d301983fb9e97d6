"""watcher-exec ends as the program ended; what cannot be started is told apart and said in one sentence."""

import json
import os
import resource
import signal
import subprocess

from exec_support import EXEC, PYTHON, ExecTest, clean_environment, main, read, until


class Status(ExecTest):
    def test_every_exit_code_is_the_programs_own(self):
        for code in range(256):
            status = subprocess.call(self.command("sh", "-c", f"exit {code}"), env=clean_environment())
            self.assertEqual(status, code)

    def test_the_summary_knows_how_it_ended(self):
        self.run_exec("sh", "-c", "exit 7")
        with open(os.path.join(self.output, "summary.json")) as file:
            self.assertEqual(json.load(file)["exit_code"], 7)

    def test_fatal_signals_are_died_by(self):
        fatal = [s for s in signal.Signals if s not in (
            signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGSTOP, signal.SIGTSTP,
            signal.SIGTTIN, signal.SIGTTOU)]
        for number in fatal:
            with self.subTest(number):
                result = self.run_exec("sh", "-c", f"kill -{number.value} $$")
                self.assertEqual(result.returncode, -number.value, result)
                self.assertEqual(result.stderr, b"")

    def test_only_the_program_leaves_a_core(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
        pattern = read("/proc/sys/kernel/core_pattern").strip()
        result = self.run_exec("sh", "-c", "kill -ABRT $$", preexec_fn=limit)
        self.assertEqual(result.returncode, -signal.SIGABRT)
        if pattern == "core":
            self.assertEqual([n for n in os.listdir(self.directory) if n.startswith("core")], ["core"])

    def test_a_program_that_is_not_there_is_127(self):
        self.assert_refused(self.run_exec("nonesuch-program"), 127, "cannot run nonesuch-program")
        self.assert_refused(self.run_exec("./nonesuch"), 127, "./nonesuch")
        self.assert_refused(self.run_exec(""), 127)
        self.assertFalse(os.path.exists(self.output))

    def test_a_program_that_cannot_be_executed_is_126(self):
        plain = self.write("plain", "echo hello\n")
        self.assert_refused(self.run_exec(plain), 126, "Permission denied")
        self.assert_refused(self.run_exec("/"), 126)
        self.assertFalse(os.path.exists(self.output))

    def test_a_script_whose_interpreter_is_missing_is_127(self):
        script = self.write("script", "#!/nonesuch/interpreter\n", 0o755)
        self.assert_refused(self.run_exec(script), 127, "its interpreter is missing")

    def test_a_script_without_interpreter_line_is_run_by_sh(self):
        script = self.write("script", "echo $0 $1; exit 3\n", 0o755)
        result = self.run_exec(script, "argument")
        self.assertEqual((result.returncode, result.stdout), (3, f"{script} argument\n".encode()))

    def test_wrong_usage_is_2(self):
        def usage(*arguments):
            return subprocess.run([EXEC, *arguments], capture_output=True, env=clean_environment(), cwd=self.directory)

        self.assert_refused(usage(), 2, "which program?")
        self.assert_refused(usage("--"), 2, "which program?")
        self.assert_refused(usage("--enginee", "x", "true"), 2, "did you mean '--engine'?")
        self.assert_refused(usage("--engine"), 2, "--engine needs a value")
        self.assert_refused(usage("--engine", "fast", "true"), 2, "--engine: engine is one of auto, inline")
        self.assert_refused(usage("--set", "engine", "true"), 2, "KEY=VALUE")
        self.assert_refused(usage("--set", "engin=uffd", "true"), 2, "did you mean 'engine'?")
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_wrong_configuration_is_2_and_nothing_starts(self):
        marker = self.path("marker")
        config = self.write("watcher.toml", "engine = 'uffd'\nbrust = 'off'\n")
        self.assert_refused(self.run_exec("--config", config, "touch", marker), 2, f"{config}:2:1", "did you mean 'burst'?")
        self.assert_refused(self.run_exec("touch", marker), 2, "./watcher.toml:2:1")
        os.remove(config)
        scope = self.write("scope.txt", "app.py\n")
        self.assert_refused(self.run_exec("--files-scope", scope, "touch", marker), 2, f"{scope}:1:7")
        self.assert_refused(self.run_exec("--config", "nonesuch.toml", "touch", marker), 2, "nonesuch.toml")
        self.assertFalse(os.path.exists(marker))
        self.assertFalse(os.path.exists(self.output))

    def test_an_impossible_output_directory_is_2_and_nothing_starts(self):
        marker = self.path("marker")
        self.output = "/proc/nonesuch/out"
        self.assert_refused(self.run_exec("touch", marker), 2, "/proc/nonesuch/out")
        self.assertFalse(os.path.exists(marker))

    def test_help_and_version_go_to_stdout(self):
        for option, word in (("--help", b"--max-queue-size"), ("-h", b"Usage:"), ("--version", b"watcher-exec ")):
            result = subprocess.run([EXEC, option], capture_output=True, env={})
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertIn(word, result.stdout)

    def test_a_killed_watcher_exec_takes_the_program_along(self):
        process = self.start(PYTHON, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
        program = int(process.stdout.readline())
        process.kill()
        process.wait()
        # whoever adopts the program may never ask for its status
        until(lambda: not os.path.exists(f"/proc/{program}") or read(f"/proc/{program}/stat").split()[2] == "Z")


main()
