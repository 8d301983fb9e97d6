"""Programs that watch their own memory: the examples, what every misuse is told, and what else may go on in a process."""

import os
import pathlib
import shutil
import subprocess
import unittest

import harness

SOURCE = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = SOURCE / "examples" / "native"
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
        if not isinstance(source, pathlib.Path):
            text, source = source, self.directory / "program.c"
            source.write_text(text)
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
                self.assertEqual((event["function"], event["file"], event["line"], event["exact"]), (None, None, None, True))
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


MISUSE = r"""
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <watcher/watcher.h>
static long value[2];
static __thread long own;
static char *stack_of_other, *block_of_other;
static int ends[2];
static char id[WATCHER_ID_BYTES];
static void tell(const char* what, int code) {
  printf("%s: %d %s\n", what, code, code != 0 ? watcher_last_error() : "");
}
static int add(void* base, size_t size) {
  const int code = watcher_register(base, size, "value", WATCHER_INT64, 0, id);
  const char* at = strstr(watcher_last_error(), " at 0x");
  if (code != 0 && at != NULL) { printf("... %s\n", strstr(at, ": ") + 2); return code; }
  if (code != 0) printf("%s\n", watcher_last_error());
  return code;
}
static void* wait_there(void* unused) {
  char here[100];
  (void)unused;
  block_of_other = (char*)&own;
  __atomic_store_n(&stack_of_other, &here[0], __ATOMIC_RELEASE);
  return read(ends[0], here, 1) == 1 ? NULL : &own;
}
static void everything(const char* state) {
  struct watcher_stats stats;
  printf("== %s %d\n", state, (int)watcher_get_state());
  if (watcher_get_state() != WATCHER_STATE_NEW) tell("initialize", watcher_initialize(NULL, 0));
  if (watcher_get_state() == WATCHER_STATE_NEW || watcher_get_state() > WATCHER_STATE_PAUSED) {
    tell("register", watcher_register(value, 8, "value", 0, 0, id));
    tell("unregister", watcher_unregister("0123456789abcdef"));
    tell("read", watcher_read_snapshot("0123456789abcdef", value, 8, NULL));
    tell("write", watcher_write_snapshot("0123456789abcdef", value, 8));
    tell("start", watcher_start());
    tell("stop", watcher_stop());
    printf("allocate: %p %s\n", watcher_allocate(10), watcher_last_error());
    watcher_free(value);
  }
  if (watcher_get_state() != WATCHER_STATE_RUNNING) tell("pause", watcher_pause());
  if (watcher_get_state() != WATCHER_STATE_PAUSED) tell("resume", watcher_resume());
  if (watcher_get_state() == WATCHER_STATE_NEW || watcher_get_state() == WATCHER_STATE_FAILED)
    tell("stats", watcher_get_stats(&stats, sizeof stats));
}
int main(int count, char** arguments) {
  char local[8], first[WATCHER_ID_BYTES], second[WATCHER_ID_BYTES];
  pthread_t other;
  struct watcher_stats stats;
  size_t size = 0;
  printf("%s", watcher_last_error());
  if (count > 1) {
    tell("initialize", watcher_initialize(arguments[1], (size_t)atol(arguments[2])));
    everything("failed");
    return 7;
  }
  everything("new");
  if (watcher_initialize(NULL, 0) != 0) return 1;
  everything("initialized");
  printf("== arguments\n");
  add(NULL, 8); add(value, 0); add(value, 9); add(local, 8); add(&own, 8); add((void*)"constant", 8); add((void*)4096, 8);
  add((void*)-4096, 16384);
  tell("name", watcher_register(value, 8, NULL, 0, 0, id));
  tell("name", watcher_register(value, 8, "", 0, 0, id));
  tell("flags", watcher_register(value, 8, "value", 99, 0, id));
  tell("flags", watcher_register(value, 8, "value", 0x1000, 0, id));
  tell("id", watcher_register(value, 8, "value", 0, 0, NULL));
  char* hole = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(hole + 4096, 4096);
  add(hole, 12288);
  if (pipe(ends) != 0 || pthread_create(&other, NULL, wait_there, NULL) != 0) return 2;
  while (__atomic_load_n(&stack_of_other, __ATOMIC_ACQUIRE) == NULL) usleep(100);
  add(stack_of_other, 8); add(stack_of_other - 65536, 8); add(block_of_other, 8);
  if (write(ends[1], "x", 1) != 1 || pthread_join(other, NULL) != 0) return 3;
  tell("register", watcher_register(value, 8, "value", WATCHER_INT64, 0, first));
  tell("register", watcher_register(value, 16, "value", WATCHER_INT64, 0, second));
  printf("%d %zu\n", strcmp(first, second) != 0, strlen(second));
  tell("unregister", watcher_unregister(NULL));
  tell("unregister", watcher_unregister("value"));
  tell("unregister", watcher_unregister(second));
  tell("unregister", watcher_unregister(second) == WATCHER_E_UNKNOWN ? 0 : 1);
  tell("read", watcher_read_snapshot(first, value, 9, &size));
  tell("write", watcher_write_snapshot(first, value, 4));
  tell("write", watcher_write_snapshot(first, NULL, 8));
  tell("stats", watcher_get_stats(NULL, 0));
  printf("%zu\n", size);
  if (watcher_start() != 0) return 4;
  everything("running");
  if (watcher_pause() != 0) return 5;
  everything("paused");
  if (watcher_resume() != 0 || watcher_get_stats(&stats, sizeof stats) != 0) return 6;
  printf("%d %d\n", (int)stats.regions, (int)stats.emitted);
  tell("stop", watcher_stop());
  everything("stopped");
  tell("stats", watcher_get_stats(&stats, sizeof stats));
  return 7;
}
"""
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
        program = self.build(MISUSE)
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
        program = self.build(MISUSE)
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


KERNEL_AND_FORK = r"""
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <watcher/watcher.h>
static volatile sig_atomic_t faults;
static void on_fault(int number) { (void)number; ++faults; signal(SIGSEGV, SIG_DFL); }
static int ends[2];
static long* words;
static void* fill(void* unused) { (void)unused; return read(ends[0], &words[4], 16) == 16 ? words : NULL; }
int main(void) {
  char id[WATCHER_ID_BYTES];
  struct watcher_stats stats;
  void* done = NULL;
  pthread_t reader;
  watcher_initialize(NULL, 0);
  words = memset(aligned_alloc(4096, 4096), 0, 4096);
  watcher_register(words, 4096, "words", WATCHER_INT64, 0, id);
  watcher_start();
  signal(SIGSEGV, on_fault);
  words[0] = 1;
  if (pipe(ends) != 0 || write(ends[1], "0123456789abcdef", 16) != 16) return 1;
  if (read(ends[0], &words[1], 16) != 16) return 2;
  watcher_pause();
  pthread_create(&reader, NULL, fill, NULL); /* waits in the kernel across the resume */
  usleep(50000);
  watcher_resume();
  if (write(ends[1], "fedcba9876543210", 16) != 16 || pthread_join(reader, &done) != 0 || done == NULL) return 3;
  const pid_t child = fork();
  if (child == 0) {
    words[10] = 2;
    watcher_pause();
    words[11] = 3;
    watcher_resume();
    watcher_stop();
    if (fork() == 0) _exit(0); /* after the end: nothing of it is recorded */
    wait(NULL);
    _exit(words[0] == 1 && words[10] == 2 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  words[0] += words[10] + 5;
  printf("%ld %ld %d %d\n", words[0], words[4], status, (int)faults);
  fflush(stdout);
  if (watcher_get_stats(&stats, sizeof stats) == 0)
    if ((long)stats.emitted != 4 || stats.regions != 1 || stats.kernel_redirects < 2) return 4;
  *(volatile long*)strtoul("8", NULL, 10) = 1; /* a fault of the program's own: its handler, then its own death */
}
"""


SAME_NAME = r"""
#include <stdio.h>
#include <watcher/watcher.h>
static char bytes[20000];
int main(void) {
  char id[WATCHER_ID_BYTES], ids[3][WATCHER_ID_BYTES];
  watcher_initialize(NULL, 0);
  for (int i = 0; i < 3; ++i) watcher_register(&bytes[i], 1, "byte", 0, 0, ids[i]);
  watcher_unregister(ids[1]);
  watcher_register(&bytes[1], 1, "byte", 0, 0, ids[1]);
  for (int i = 0; i < 3; ++i) puts(ids[i]);
  for (int i = 0; i < 3; ++i) watcher_unregister(ids[i]);
  for (int i = 0; i < 20000; ++i) /* no more work for one than for the first */
    if (watcher_register(&bytes[i], 1, "byte", 0, 0, id) != 0) return 1;
    else if (i < 3) puts(id);
  return 0;
}
"""


class Beside(Native):
    def test_system_calls_forks_and_faults_of_the_program(self):
        program = self.build(KERNEL_AND_FORK)

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
        program = self.build(SAME_NAME)
        runs = [self.run_native([program], "inline") for _ in range(2)]
        self.assertEqual((runs[0].status, runs[0].stdout), (0, runs[1].stdout))
        ids = runs[0].stdout.decode().split()
        self.assertEqual((len(set(ids[:3])), len(set(ids[3:]))), (3, 3))
        self.assertEqual((ids[3], ids[5]), (ids[0], ids[2]))


if __name__ == "__main__":
    if not COMPILERS:
        raise unittest.SkipTest("no compiler found")
    harness.main()
