"""Events arrive at an OpenTelemetry receiver: each once by its id, whatever happens to the receiver and to us."""

import collections
import json
import os
import pathlib
import shutil
import subprocess
import time

import rotated
from exec_support import EXEC, ExecTest, clean_environment, main, until

WRITER = os.path.abspath(os.environ["RING_WRITER"])
SOURCE = pathlib.Path(__file__).resolve().parent / "otlp"
# The decoder is installed once a build tree, from the lock file.
MODULES = pathlib.Path(EXEC).parents[1] / "tests" / "behaviour" / "otlp"


def install():
    if not (shutil.which("node") and shutil.which("npm")):
        raise ExecTest.skipTest(ExecTest(), "needs node and npm")
    MODULES.mkdir(parents=True, exist_ok=True)
    lock = (SOURCE / "package-lock.json").read_bytes()
    stamp = MODULES / "installed.json"
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, MODULES / name)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=MODULES, check=True,
                   stdout=subprocess.DEVNULL)
    stamp.write_bytes(lock)


class Otlp(ExecTest):
    @classmethod
    def setUpClass(cls):
        install()

    def setUp(self):
        super().setUp()
        self.log = self.path("received")
        self.port = 0

    def receive(self, *behaviour):
        """Starts a receiver, on the port of the one before."""
        command = ["node", SOURCE / "receiver.cjs", MODULES / "node_modules", str(self.port), self.log, *behaviour]
        receiver = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.addCleanup(receiver.stdout.close)
        self.addCleanup(receiver.wait)
        self.addCleanup(receiver.kill)
        self.port = int(receiver.stdout.readline())
        return receiver

    def options(self, *more):
        return ("--otlp-endpoint", f"http://127.0.0.1:{self.port}", *more)

    def lines(self):
        """What the receiver has written so far; a line that is being written is not there yet."""
        if not os.path.exists(self.log):
            return []
        return pathlib.Path(self.log).read_bytes().split(b"\n")[:-1]

    def received(self):
        records = [json.loads(line) for line in self.lines()]
        self.assertEqual([record for record in records if "fault" in record][:1], [])
        return records

    def count(self):
        return len(self.lines())

    def sink(self):
        return json.loads((pathlib.Path(self.output) / "summary.json").read_text())["sinks"]["otlp"]

    def assert_each_once(self, repeats=0):
        """Every line of the files was received; the same one twice only where an answer was lost."""
        ids = collections.Counter(record["attributes"]["watcher.event_id"] for record in self.received())
        lines = collections.Counter(event["event_id"] for event in rotated.events(self.output))
        self.assertEqual(lines - ids, collections.Counter())
        self.assertEqual(set(ids), set(lines))
        self.assertLessEqual(sum((ids - lines).values()), repeats)

    def test_records_say_what_the_events_say(self):
        self.receive()
        environment = clean_environment(OTEL_SERVICE_NAME="shop")
        result = self.run_exec(*self.options("--otlp-headers", "x-key=a%2Cb", "--otlp-resource", "team=blue,zone=1"), WRITER,
                               "1000", env=environment)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assert_each_once()
        events = {event["event_id"]: event for event in rotated.events(self.output)}
        for record in self.received():
            event = events[record["attributes"]["watcher.event_id"]]
            self.assertEqual(record["body"], {**event, "timestamp_ns": str(event["timestamp_ns"])})  # beyond JavaScript's
            self.assertEqual(record["time"], str(event["timestamp_ns"]))
            self.assertEqual(record["attributes"]["watcher.variable.name"], "counter")
            self.assertEqual(record["attributes"]["code.line.number"], 1)
        resource = record["resource"]
        self.assertEqual((resource["service.name"], resource["team"], resource["zone"]), ("shop", "blue", "1"))
        self.assertEqual(record["headers"]["x-key"], "a,b")
        self.assertEqual(self.sink(), {"delivered": 1000, "rejected": 0, "fault": None})

    def test_a_record_names_the_span(self):
        self.receive()
        program = self.path("app.js")
        pathlib.Path(program).write_text("""\
const { watch } = require('watcher');
const { context, trace } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
const state = watch({}, { name: 'state' });
const span = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 };
context.with(trace.setSpanContext(context.active(), span), () => { state.inside = 1; });
state.outside = 1;
""")
        self.run_exec(*self.options(), "node", program, env=clean_environment(NODE_PATH=str(MODULES / "node_modules")))
        spans = {record["body"]["path"][0]: record["span"] for record in self.received()}
        self.assertEqual(spans["inside"], ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1])
        self.assertFalse(any(spans["outside"]))

    def test_a_receiver_that_is_killed_and_comes_back(self):
        receiver = self.receive()
        process = self.start(*self.options("--otlp-batch-size", "50", "--rotate-size", "500000", "--rotate-compress", "gzip"),
                             "sh", "-c", f"for i in 1 2 3 4 5 6 7 8 9; do {WRITER} 2000 >/dev/null; sleep 0.5; done")
        kills = 0
        while process.poll() is None:
            time.sleep(0.3)
            receiver.kill()
            receiver.wait()
            kills += 1
            time.sleep(0.2)
            receiver = self.receive()
        self.assertEqual(process.returncode, 0)
        self.assertGreater(kills, 2)
        for _ in range(3):
            self.assertEqual(self.run_exec(*self.options(), "true").returncode, 0)
        self.assert_each_once(repeats=50 * kills)

    def test_a_receiver_that_is_away_the_whole_run(self):
        receiver = self.receive()
        receiver.kill()
        receiver.wait()
        started = time.monotonic()
        result = self.run_exec(*self.options("--rotate-size", "100000", "--rotate-compress", "zstd"), WRITER, "3000")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertLess(time.monotonic() - started, 10)
        self.assertEqual(self.count(), 0)
        self.assertIn("connect", self.sink()["fault"])
        self.receive()
        self.assertEqual(self.run_exec(*self.options(), "true").returncode, 0)
        self.assert_each_once()

    def test_a_receiver_that_does_not_answer_holds_up_nobody(self):
        self.receive("0")
        started = time.monotonic()
        result = self.run_exec(*self.options("--otlp-timeout-ms", "500"), WRITER, "20000")
        self.assertEqual(result.returncode, 0)
        self.assertLess(time.monotonic() - started, 15)
        self.assertEqual(len(rotated.events(self.output)), 20000)
        self.assertEqual(self.sink()["delivered"], 0)

    def test_a_receiver_that_is_busy_for_a_while(self):
        self.receive("503", "3")
        result = self.run_exec(*self.options(), "sh", "-c", f"{WRITER} 500 >/dev/null; sleep 2")
        self.assertEqual(result.returncode, 0)
        self.assert_each_once()

    def test_what_the_receiver_refuses_for_good_is_counted(self):
        self.receive("400", "1")
        self.run_exec(*self.options("--otlp-batch-size", "100"), WRITER, "300")
        sink = self.sink()
        self.assertEqual(sink["delivered"] + sink["rejected"], 300)
        self.assertEqual(sink["delivered"], self.count())
        self.assertTrue(0 < sink["rejected"] <= 100)

    def test_what_it_refuses_of_a_batch_is_counted(self):
        self.receive("partial")
        self.run_exec(*self.options("--otlp-batch-size", "100"), WRITER, "300")
        sink = self.sink()
        self.assertEqual((sink["delivered"] + sink["rejected"], sink["delivered"]), (300, self.count()))
        self.assertGreaterEqual(sink["rejected"], 3)

    def test_requests_that_are_too_large_become_smaller(self):
        self.receive("413", "3")
        self.run_exec(*self.options("--otlp-batch-size", "100"), "sh", "-c", f"{WRITER} 300 >/dev/null; sleep 2")
        self.assertEqual(self.sink()["rejected"], 0)
        self.assert_each_once()

    def test_the_next_run_goes_on_where_a_killed_one_was(self):
        self.receive()
        for _ in range(3):
            process = self.start(*self.options("--otlp-batch-size", "20"), WRITER, "100000")
            before = self.count()
            until(lambda: self.count() > before)
            process.kill()
            process.wait()
        for _ in range(3):
            self.assertEqual(self.run_exec(*self.options(), "true").returncode, 0)
        self.assert_each_once(repeats=3 * 20)

    def test_two_runs_at_once_share_the_work(self):
        self.receive()
        runs = [self.start(*self.options(), WRITER, "5000") for _ in range(2)]
        for run in runs:
            run.communicate()
        self.assertEqual(self.run_exec(*self.options(), "true").returncode, 0)
        self.assert_each_once()

    def test_a_wrong_endpoint_is_said_before_anything_runs(self):
        for options, word in ((("--otlp-endpoint", "localhost:4318"), "http://localhost:4318"),
                              (("--otlp-endpoint", "http://x", "--otlp-headers", "novalue"), "key=value")):
            self.assert_refused(self.run_exec(*options, "true"), 2, word)

    def test_the_table_of_the_configuration_file(self):
        self.receive()
        config = self.write("w.toml", f'[otlp]\nendpoint = "http://127.0.0.1:{self.port}/v1/logs"\nbatch_size = 10\n'
                                      '[otlp.resource]\n"service.name" = "a, b = c%"\n[otlp.headers]\nx-a = "1"\n')
        self.assertEqual(self.run_exec("--config", config, WRITER, "100").returncode, 0)
        self.assert_each_once()
        record = self.received()[0]
        self.assertEqual((record["resource"]["service.name"], record["headers"]["x-a"]), ("a, b = c%", "1"))


main()
