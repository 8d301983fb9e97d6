"""The span of OpenTelemetry in which a variable changes: what the events say is what the API says there.

Node's packages come from otlp/package-lock.json. Python's have no Debian package: they are looked for on WATCHER_TEST_OPENTELEMETRY
(a path as PYTHONPATH) and in the interpreters themselves; without them a stand-in is used that keeps its spans as opentelemetry-api does.
"""

import functools
import os
import pathlib
import subprocess
import sys

import harness
import node_programs
from harness import value
from node_support import cache, install

LOCK = pathlib.Path(__file__).parent / "otlp"
CACHE = cache().parent / "node-opentelemetry"
SPANS = {name: (f"{number:032x}", f"{number << 56 | 255:016x}", f"{number % 2:02x}")
         for number, name in enumerate(("a", "b", "c", "x", "y", "t", "bulk", "early"), 1)}
SPANS["huge"] = ("f" * 32, "f" * 16, "ff")

STAND_IN = {
    "opentelemetry/__init__.py": "",
    "opentelemetry/context/__init__.py": """\
from contextvars import ContextVar
class Context(dict): pass
class ContextVarsRuntimeContext:
    def __init__(self):
        self._current_context = ContextVar("current_context", default=Context())
_RUNTIME_CONTEXT = ContextVarsRuntimeContext()
""",
    "opentelemetry/trace/__init__.py": """\
import contextlib
from opentelemetry import context
from opentelemetry.trace.propagation import _SPAN_KEY
from opentelemetry.trace.span import INVALID_SPAN, NonRecordingSpan, SpanContext, TraceFlags
import opentelemetry.util
@contextlib.contextmanager
def use_span(span):
    variable = context._RUNTIME_CONTEXT._current_context
    token = variable.set(context.Context({**variable.get(), _SPAN_KEY: span}))
    try:
        yield span
    finally:
        variable.reset(token)
""",
    "opentelemetry/trace/propagation.py": "from opentelemetry.trace.span import INVALID_SPAN\n_SPAN_KEY = 'current-span-' + str(id(INVALID_SPAN))\n",
    "opentelemetry/trace/span.py": """\
class TraceFlags(int): pass
class SpanContext(tuple):
    def __new__(cls, trace_id, span_id, is_remote, trace_flags):
        return tuple.__new__(cls, (trace_id, span_id, is_remote, trace_flags, None, True))
class NonRecordingSpan:
    def __init__(self, context):
        self._context = context
INVALID_SPAN_CONTEXT = SpanContext(0, 0, False, TraceFlags(0))
INVALID_SPAN = NonRecordingSpan(INVALID_SPAN_CONTEXT)
""",
    "opentelemetry/util.py": "",
}

PYTHON = """\
import asyncio, contextvars, threading
from watcher import watch
count = watch(0, name="count")
items = watch([], name="items")
data = watch(bytearray(8192), name="data")
def step(n):
    global count
    count = n
    items.append(n)
    data[n] = n
step(1)
from opentelemetry import trace
SPANS = %r
def span(name):
    trace_id, span_id, flags = (int(part, 16) for part in SPANS[name])
    return trace.use_span(trace.NonRecordingSpan(trace.SpanContext(trace_id, span_id, True, trace.TraceFlags(flags))))
with span("early"):
    data[2] = 2
step(3)
with span("a"):
    step(4)
    with span("b"):
        step(5)
        for i in range(60):  # a deeper tree
            contextvars.ContextVar("v%%d" %% i).set(i)
        step(6)
    step(7)
    try:
        with span("c"):
            raise KeyError
    except KeyError:
        step(8)
with span("huge"):
    step(9)
async def task(name, n):
    with span(name):
        for i in range(3):
            step(n + i)
            await asyncio.sleep(0)
    step(n + 3)
async def main():
    await asyncio.gather(task("x", 20), task("y", 30))
asyncio.run(main())
def thread():
    step(40)
    with span("t"):
        step(41)
one = threading.Thread(target=thread)
with span("a"):
    one.start()
    one.join()
with span("bulk"):
    data[4096:8192] = b"x" * 4096
step(50)
with trace.use_span(trace.INVALID_SPAN):
    step(51)
del data
"""
EXPECTED = {1: None, 2: "early", 3: None, 4: "a", 5: "b", 6: "b", 7: "a", 8: "a", 9: "huge", 20: "x", 21: "x", 22: "x", 23: None, 30: "y",
            31: "y", 32: "y", 33: None, 40: None, 41: "t", 50: None, 51: None}

NODE = """\
const { watch } = require('watcher');
const begin = () => [watch(new Uint32Array(64), { name: 'data' }), watch({}, { name: 'state' })];
let data, state;
if (process.env.EARLY) [data, state] = begin();
const { context, trace } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
const { BasicTracerProvider } = require('@opentelemetry/sdk-trace-base');
const SPANS = %s;
let next;
const idGenerator = { generateTraceId: () => SPANS[next][0], generateSpanId: () => SPANS[next][1] };
const tracer = new BasicTracerProvider({ idGenerator }).getTracer('test');
const useManager = () => context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
const inSpan = (name, run) => {
  const [traceId, spanId, flags] = SPANS[name];
  return context.with(trace.setSpanContext(context.active(), { traceId, spanId, traceFlags: parseInt(flags, 16) }), run);
};
const step = (n) => { data[n] = n; state.n = n; };
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
async function main() {
  useManager();
  if (data === undefined) inSpan('early', () => { [data, state] = begin(); step(2); });
  else inSpan('early', () => step(2));
  step(3);
  inSpan('a', () => {
    step(4);
    inSpan('b', () => step(5));
    step(6);
    try {
      inSpan('c', () => { throw new Error('thrown'); });
    } catch {
      step(7);
    }
  });
  inSpan('huge', () => step(8));
  next = 'c';
  tracer.startActiveSpan('recording', { root: true }, () => step(9));
  await Promise.all([['x', 20], ['y', 30]].map(([name, n]) => inSpan(name, async () => {
    step(n);
    await sleep(1);
    step(n + 1);
    await inSpan('b', async () => { await null; step(n + 2); });
    step(n + 3);
  })));
  step(40);
  const ways = [(f) => setTimeout(f, 2), setImmediate, process.nextTick, queueMicrotask];
  const told = ways.map((way, i) => new Promise((done) => inSpan('t', () => way(() => { step(41 + i); done(); }))));
  const other = new (require('async_hooks').AsyncLocalStorage)();
  other.run({ _currentContext: new Map([[Symbol.for('OpenTelemetry Context Key SPAN'), { _spanContext: {} }]]) }, step, 45);
  await Promise.all(told);
  context.bind(trace.setSpanContext(context.active(), { traceId: SPANS.a[0], spanId: SPANS.a[1], traceFlags: 1 }), () => step(46))();
  context.disable();
  step(47);
  useManager();
  await inSpan('b', async () => { await sleep(1); step(48); });
  step(49);
  new (class { constructor() { console.log(new Error('here').stack.split('\\n').length); } })();
}
main();
"""
NODE_EXPECTED = {2: "early", 3: None, 4: "a", 5: "b", 6: "a", 7: "a", 8: "huge", 9: "c", 20: "x", 21: "x", 22: "b", 23: "x", 30: "y", 31: "y",
                 32: "b", 33: "y", 40: None, 41: "t", 42: "t", 43: "t", 44: "t", 45: None, 46: "a", 47: None, 48: "b", 49: None}


def span_of(event):
    return (event["trace_id"], event["span_id"], event["trace_flags"]) if "trace_id" in event else None


def by_step(events):
    """What was told of each step, by its number."""
    return {value(event["after"]) if event["op"] != "write" else event["path"][0]: span_of(event) for event in events}


def named(expected, *left_out):
    return {n: SPANS[name] if name else None for n, name in expected.items() if n not in left_out}


@functools.cache
def api_of(python):
    """The PYTHONPATH by which an interpreter has the API; None: it has not."""
    for path in ("", os.environ.get("WATCHER_TEST_OPENTELEMETRY", "")):
        probe = subprocess.run([python, "-c", "from opentelemetry import trace; trace.NonRecordingSpan"], capture_output=True,
                               env={**os.environ, "PYTHONPATH": path})
        if probe.returncode == 0:
            return path
    return None


class Python(harness.Case):
    def check(self, run):
        self.assertEqual(by_step(run.of("count")), named(EXPECTED, 2))
        self.assertEqual(by_step(run.of("items")), named(EXPECTED, 2))
        writes = [event for event in run.of("data") if event["op"] == "write"]
        self.assertEqual(by_step(event for event in writes if isinstance(event["path"][0], int)), named(EXPECTED))
        bulk = [event for event in writes if not isinstance(event["path"][0], int)]
        self.assertTrue(bulk)
        self.assertEqual({span_of(event) for event in bulk}, {SPANS["bulk"]})

    def test_events_tell_the_span_that_the_api_has_current(self):
        missing = []
        for version, python in harness.INTERPRETERS:
            path = api_of(python)
            if path is None:
                missing.append(version)
                self.write(STAND_IN)
                path = str(self.directory)
            program = self.write({f"app{version}.py": PYTHON % SPANS})
            with self.subTest(python, path=path):
                for options in ((), ("--set", "stack=3"), ("--engine", "hwbp")):
                    run = self.watched(python, program, options=options, environment={"PYTHONPATH": path})
                    self.assertEqual((run.status, run.stdout, run.stderr), (0, b"", b""))
                    self.check(run)
        if missing:
            print("tested with a stand-in, no opentelemetry-api here: CPython " + ", ".join(missing), file=sys.stderr)

    def test_another_kind_of_context_is_left_alone(self):
        files = {**STAND_IN, "opentelemetry/context/__init__.py": "class Context(dict): pass\n_RUNTIME_CONTEXT = object()\n"}
        self.write(files)
        program = self.write({"app.py": "from watcher import watch\nimport opentelemetry.trace\nx = watch(1, name='x')\nx = 2\n"})
        _, python = harness.INTERPRETERS[0]
        run = self.watched(python, program, options=("--log-level", "INFO"), environment={"PYTHONPATH": str(self.directory)})
        self.assertIn(b"events do not tell OpenTelemetry's spans", run.stderr)
        self.assertEqual([span_of(event) for event in run.of("x")], [None])


class Node(node_programs.Case):
    maxDiff = None

    def test_events_tell_the_span_that_the_api_has_current(self):
        install(CACHE, LOCK, (CACHE / "node_modules" / ".package-lock.json").exists)
        spans = "{" + ", ".join(f"{name}: {list(span)}" for name, span in SPANS.items()) + "}"
        def check(run):
            expected = {**named(NODE_EXPECTED), 9: (*SPANS["c"][:2], "01")}
            expected[46] = (*SPANS["a"][:2], "01")
            self.assertEqual(by_step(run.of("data")), expected)
            self.assertEqual(by_step(run.of("state")), expected)
        for early in ("", "1"):
            environment = {"NODE_PATH": str(CACHE / "node_modules"), "EARLY": early}
            self.on_nodes({"app.js": NODE % spans}, check, environment=environment)


if __name__ == "__main__":
    harness.main()
