"""Programs that watch their own memory: the examples, what every misuse is told, and what else may go on in a process."""

import os
import pathlib
import shutil
import subprocess
import unittest

import harness

SOURCE = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = SOURCE / "examples" / "native"
PROGRAMS = SOURCE / "tests" / "behaviour" / "native"
SHIM = harness.BUILD / "preload" / "libwatcher_preload.so"
RUNTIME = harness.BUILD / "runtime" / "libwatcher_runtime.so"
COMPILERS = [(c, cpp) for c, cpp in (("gcc", "g++"), ("clang", "clang++")) if shutil.which(c) and shutil.which(cpp)]
ENGINES = ("auto", "inline", "uffd")
WARNINGS = ["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic"]


def users():
    return (None, harness.NOBODY) if os.getuid() == 0 and harness.readable_by_others(SHIM) else (None,)


class Native(harness.Case):
    def build(self, source, compilers=COMPILERS[0], link=True):
        """Compiles as with pkg-config: the shim in front of the runtime."""
        include = self.directory / "include"
        include.mkdir(exist_ok=True)
        if not (include / "watcher").exists():
            (include / "watcher").symlink_to(SOURCE / "runtime")
        program = self.directory / source.stem
        cpp = source.suffix == ".cpp"
        command = [compilers[cpp], "-std=c++20" if cpp else "-std=c11", "-D_GNU_SOURCE", *WARNINGS, f"-I{include}",
                   str(source), "-o", str(program), "-pthread"]
        if link:
            command += ["-Wl,--no-as-needed", str(SHIM), "-Wl,--as-needed", str(RUNTIME)]
            command += [f"-Wl,-rpath,{SHIM.parent}:{RUNTIME.parent}"]
        subprocess.run(command, check=True, timeout=120)
        return program

    def run_native(self, command, engine=None, user=None, environment=None, launcher=(), stdin=b""):
        """With `engine` None: bare, by WATCHER_DISABLE."""
        output = self.directory / f"out-{engine}-{user}"
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        if user is not None:
            os.chown(output, user, user)
        env = {key: text for key, text in os.environ.items() if not key.startswith("WATCHER_")}
        env.update({"WATCHER_OUTPUT": str(output), "WATCHER_ENGINE": engine} if engine else {"WATCHER_DISABLE": "1"})
        env.update(environment or {})
        command = [str(word) for word in (*launcher, *command)]
        if user is not None:
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
        done = subprocess.run(command, cwd=self.directory, env=env, capture_output=True, input=stdin, timeout=120)
        return harness.Run(done, output)

    def on_engines(self, command, check, **settings):
        bare = self.run_native(command, stdin=settings.get("stdin", b""))
        for engine in ENGINES:
            for user in users():
                with self.subTest(command=command[0].name, engine=engine, user=user):
                    watched = self.run_native(command, engine, user, **settings)
                    self.assert_same_host(bare, watched)
                    self.assertEqual(watched.summary["processes"][0]["host"], "native")
                    check(watched)

    def statement(self, event):
        return pathlib.Path(event["file"]).read_text().splitlines()[event["line"] - 1].strip()

    def assert_chain(self, events, size):
        """The content that the deltas lead to, each `before` being what was there."""
        content = bytearray(size)
        for event in events:
            for delta in event["deltas"]:
                self.assertEqual(content[delta["offset"]], int(delta["before"], 16), event)
                content[delta["offset"]] = int(delta["after"], 16)
        return content


class Examples(Native):
    def test_a_c_program(self):
        def check(run):
            events = run.of("balance")
            self.assertEqual(harness.changes(events[:4]), [("write", 100, 110), ("write", 110, 130), ("write", 130, 160),
                                                            ("write", 160, 135)])
            self.assertEqual([event["op"] for event in events[4:]], ["resumed", "write"])
            self.assertEqual(harness.value(events[5]["before"]), 135 - 1000)
            self.assertIs(events[4]["exact"], False)
            self.assertEqual({event["scope"] for event in events}, {"global"})
            for event in events[:4]:
                function = "charge" if event is events[3] else "deposit"
                self.assertEqual((event["function"], event["exact"]), (function, True))
                self.assertEqual(event["file"], str(EXAMPLES / "account.c"))
                self.assertEqual(self.statement(event), "balance -= amount;" if function == "charge" else "balance += amount;")
                self.assertGreater(int(event["ip"], 16), 4096)
            # three times by the same instruction or its unrolled copies, in another function the fourth
            self.assertNotIn(events[3]["ip"], {event["ip"] for event in events[:3]})

        for compilers in COMPILERS:
            self.on_engines([self.build(EXAMPLES / "account.c", compilers)], check)

    def test_a_cpp_program(self):
        def check(run):
            events = run.of("readings")
            stores, rollback = events[:-1], events[-1]
            self.assertEqual(len(stores), 4 * 5 + 1)
            self.assertEqual(len({event["thread_id"] for event in stores}), 5)
            for sensor in range(4):
                mine = [event for event in stores if event["path"] == [sensor] and event["thread_id"] != rollback["thread_id"]]
                self.assertEqual([event["after"]["value"] for event in mine], [20.0 + sensor + s / 10 for s in range(1, 6)])
                self.assertEqual(len({event["thread_id"] for event in mine}), 1)
            self.assertEqual(rollback["op"], "write")
            self.assertEqual({delta["offset"] // 8 for delta in rollback["deltas"]}, {2})
            self.assert_chain(events, 64)

        for compilers in COMPILERS:
            self.on_engines([self.build(EXAMPLES / "sensors.cpp", compilers)], check)

    def test_a_program_that_dlopens_the_runtime(self):
        def check(run):
            events = run.of("counters")
            self.assertEqual([(event["path"], harness.value(event["after"])) for event in events[:4]],
                             [([0], 1), ([5], 6), ([10], 11), ([15], 16)])
            written = [event["op"] for event in events[4:]]
            self.assertIn("kernel_write", written[:-1])
            self.assertEqual(written[-1], "write")
            words = self.assert_chain(events, 64)
            self.assertEqual(words[:12], b"\1\0\0\0bbbb2222")

        command = [self.build(EXAMPLES / "dlopened.c", link=False), RUNTIME]
        for launcher in (["env", f"LD_PRELOAD={SHIM}"], [harness.BUILD / "tools" / "watcher-exec", "--"]):
            self.on_engines(command, check, launcher=launcher, stdin=b"abbb2222")
        # without the shim its own stores are seen all the same
        alone = self.run_native(command, "inline")
        self.assertEqual((alone.status, len(alone.of("counters"))), (0, 4))


GUARDED = ("it lies on a page of a thread's stack or thread-local storage, which must stay writable; keep the variable in "
           "static memory, on the heap, or in memory of watcher_allocate")
UNMAPPED = "it is not mapped as writable memory from its first byte to its last"


def in_every_call(why):
    return [f"register: 1 cannot register a variable: {why}", f"unregister: 1 cannot unregister a variable: {why}",
            f"read: 1 cannot read a snapshot: {why}", f"write: 1 cannot write a snapshot: {why}",
            f"start: 1 cannot start: {why}", f"stop: 1 cannot stop: {why}", f"allocate: (nil) cannot allocate memory: {why}",
            f"pause: 1 cannot pause: {why}", f"resume: 1 cannot resume: {why}"]


class Misuse(Native):
    def test_every_wrong_call_fails_with_a_sentence(self):
        stopped = "the session has been stopped, and there is one a process"
        program = self.build(PROGRAMS / "misuse.c")
        expected = ["== new 0", *in_every_call("watcher_initialize has not been called"),
                    "stats: 1 cannot tell statistics: watcher_initialize has not been called",
                    "== initialized 1", "initialize: 1 cannot initialize: it is initialized already",
                    "pause: 1 cannot pause: capture has not been started",
                    "resume: 1 cannot resume: capture has not been started",
                    "== arguments", "cannot register value: no memory given", "cannot register value: no memory given",
                    "cannot register value: 9 bytes are no whole number of int64",
                    f"... {GUARDED}", f"... {GUARDED}", f"... {UNMAPPED}", f"... {UNMAPPED}", "... Invalid argument",
                    "name: 2 cannot register a variable: its name must have 1 to 4096 bytes",
                    "name: 2 cannot register a variable: its name must have 1 to 4096 bytes",
                    "flags: 2 cannot register value: unknown flags 0x63",
                    "flags: 2 cannot register value: unknown flags 0x1000",
                    "id: 2 cannot register a variable: no room given for its id",
                    f"... {UNMAPPED}", f"... {GUARDED}", f"... {GUARDED}", f"... {GUARDED}",
                    "register: 0 ", "register: 0 ", "1 16",
                    "unregister: 4 cannot unregister a variable: no variable has the id (null)",
                    "unregister: 4 cannot unregister a variable: no variable has the id value",
                    "unregister: 0 ", "unregister: 0 ",
                    "read: 2 cannot read a snapshot: value has 8 bytes",
                    "write: 2 cannot write a snapshot of 4 bytes: value has 8",
                    "write: 2 cannot write a snapshot of 8 bytes: no bytes given",
                    "stats: 2 cannot tell statistics: no room given for them", "8",
                    "== running 2", "initialize: 1 cannot initialize: capture is running",
                    "resume: 1 cannot resume: capture is running",
                    "== paused 3", "initialize: 1 cannot initialize: capture is paused",
                    "pause: 1 cannot pause: capture is paused", "1 0", "stop: 0 ",
                    "== stopped 4", f"initialize: 1 cannot initialize: {stopped}", *in_every_call(stopped), "stats: 0 "]
        for engine in ENGINES:
            for user in users():
                with self.subTest(engine=engine, user=user):
                    run = self.run_native([program], engine, user)
                    self.assertEqual(run.stdout.decode().splitlines(), expected)
                    self.assertEqual((run.stderr, run.status, run.events), (b"", 7, []))

    def test_a_session_that_cannot_be_had_says_why(self):
        program = self.build(PROGRAMS / "misuse.c")
        (self.directory / "a-file").write_text("")
        for output, queue, environment, why in (
                ("a-file/out", "0", {}, f"no event queue in {self.directory}/a-file/out: Not a directory"),
                ("out", "999999999999", {}, "max_queue_size"), ("out", "0", {"WATCHER_ENGINE": "steam"}, "WATCHER_ENGINE"),
                ("out", "0", {"WATCHER_DISABLE": "1"}, "WATCHER_DISABLE")):
            with self.subTest(why=why):
                run = self.run_native([program, output, queue], "inline", environment={"WATCHER_OUTPUT": "", **environment})
                lines = run.stdout.decode().splitlines()
                code = 6 if "WATCHER_DISABLE" in environment else 5
                self.assertTrue(lines[0].startswith(f"initialize: {code} "), lines[0])
                self.assertIn(why, lines[0])
                reason = lines[0].split(" ", 2)[2]
                self.assertEqual(lines[3:-1], in_every_call("watcher_initialize failed: " + reason))
                self.assertEqual(run.status, 7)


class Beside(Native):
    def test_system_calls_forks_and_faults_of_the_program(self):
        program = self.build(PROGRAMS / "beside.c")

        def check(run):
            by_pid = {}
            for event in run.of("words"):
                by_pid.setdefault(event["pid"], []).append(event)
            parent, child = sorted(by_pid.values(), key=len, reverse=True)
            self.assertEqual([event["op"] for event in parent], ["write", "kernel_write", "kernel_write", "write"])
            self.assertEqual([event["op"] for event in child], ["write", "resumed"])
            self.assertEqual(harness.value(parent[3]["after"]), 6)
            self.assertFalse(list(self.directory.glob("out-*/ring.*")))

        # under watcher-exec, which ends when all is collected
        self.on_engines([program], check, launcher=[harness.BUILD / "tools" / "watcher-exec", "--"])

    def test_ids_are_the_same_in_every_run(self):
        program = self.build(EXAMPLES / "account.c")
        runs = [self.run_native([program], "inline") for _ in range(2)]
        self.assertEqual(*({event["variable_id"] for event in run.events} for run in runs))
        self.assertEqual(list(runs[0].summary["variables"].values()), [{"name": "balance", "events": 6}])

    def test_variables_of_one_name_have_ids_of_their_own(self):
        program = self.build(PROGRAMS / "same_name.c")
        runs = [self.run_native([program], "inline") for _ in range(2)]
        self.assertEqual((runs[0].status, runs[0].stdout), (0, runs[1].stdout))
        ids = runs[0].stdout.decode().split()
        self.assertEqual((len(set(ids[:3])), len(set(ids[3:]))), (3, 3))
        self.assertEqual((ids[3], ids[5]), (ids[0], ids[2]))


if __name__ == "__main__":
    if not COMPILERS:
        raise unittest.SkipTest("no compiler found")
    harness.main()
