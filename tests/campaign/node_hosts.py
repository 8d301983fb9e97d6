"""Programs in node that must behave with Watcher as they do without: compilers and bundlers, wasm's traps, workers, processes, a web
server, shared memory, a heap that is nearly full. The short form of each is a test; --full is what issue 5 asks for.

The tools come from node/hosts/package-lock.json, once, into the cache of node_support.py.
"""

import functools
import hashlib
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "behaviour"))
import harness  # noqa: E402
from node_support import INTERPRETERS, PRELOAD, Case, cache, install  # noqa: E402

FULL = "--full" in sys.argv
LOCK = pathlib.Path(__file__).parents[1] / "behaviour" / "node" / "hosts"
NODES = dict(reversed(INTERPRETERS))  # one a version


@functools.cache
def tools():
    home = cache().parent / "node-hosts"
    install(home, LOCK, (home / "node_modules" / ".package-lock.json").exists)
    return home / "node_modules"


def tree(directory):
    """{file: digest} of what a tool has written."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


TSCONFIG = {"compilerOptions": {"target": "es2020", "module": "commonjs", "outDir": "made", "declaration": True, "sourceMap": True,
                                "strict": True}, "files": ["shapes.ts", "main.ts"]}
SHAPES = """export interface Shape { area(): number }
export class Square implements Shape { constructor(private side: number) {} area() { return this.side ** 2; } }
export type Named<T> = { [key in keyof T]: T[key] } & { name: string };
"""
MAIN_TS = """import { Square, Named, Shape } from './shapes';
const shapes: Named<Shape>[] = [1, 2, 3].map((n) => Object.assign(new Square(n), { name: `s${n}` }));
console.log(shapes.reduce((sum, shape) => sum + shape.area(), 0));
const wrong: number = 'text';
"""
BUNDLE = """const webpack = require('webpack');
webpack({ mode: 'production', target: 'node', entry: require.resolve('ENTRY'), output: { path: __dirname + '/made' } }, (error, stats) => {
  console.log(error, stats.toString({ timings: false, builtAt: false, version: true }));
});
"""
LINT = {"root": True, "env": {"es2022": True, "node": True}, "parserOptions": {"ecmaVersion": 2022}, "extends": "eslint:all"}
# mode → what the environment says besides; {} means that only the shim is there
MODES = {"shim": {}, "asked": {"WATCHER_LOG_LEVEL": "ERROR"}}


class Tools(Case):
    """What they print and write, byte for byte; `asked` has the handlers of positions and allocations on."""

    def run_in(self, directory, node, arguments, mode):
        shutil.rmtree(directory / "made", ignore_errors=True)
        env = {"NODE_PATH": str(tools())}
        if mode is not None:
            env.update(MODES[mode], LD_PRELOAD=PRELOAD)
        if mode == "asked":
            env["WATCHER_OUTPUT"] = str(self.directory / "watched")
        done = subprocess.run([node, *map(str, arguments)], cwd=directory, env={**self.clean(), **env}, capture_output=True, timeout=540)
        return done.stdout, done.stderr, done.returncode, tree(directory / "made")

    @staticmethod
    def clean():
        return {key: text for key, text in os.environ.items() if not key.startswith(("WATCHER_", "NODE_"))}

    def same(self, *arguments, made=False):
        project = self.directory / "project"
        for version, node in NODES.items() if FULL else sorted(NODES.items())[:: len(NODES) - 1 or 1]:
            plain = self.run_in(project, node, arguments, None)
            self.assertEqual(bool(plain[3]), made, plain[1][-600:])
            for mode in MODES:
                with self.subTest(node=version, mode=mode):
                    self.assertEqual(self.run_in(project, node, arguments, mode), plain)

    def project(self, files):
        for name, text in files.items():
            path = self.directory / "project" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def test_tsc(self):
        self.project({"tsconfig.json": json.dumps(TSCONFIG), "shapes.ts": SHAPES, "main.ts": MAIN_TS})
        self.same(tools() / "typescript" / "bin" / "tsc", "-p", ".", made=True)

    def test_eslint(self):
        self.project({".eslintrc.json": json.dumps(LINT)})
        self.same(tools() / "eslint" / "bin" / "eslint.js", "-c", ".eslintrc.json", "--no-eslintrc", "--format", "json",
                  tools() / "express" / "lib" / ("" if FULL else "router"), "--no-ignore")

    def test_webpack(self):
        self.project({"bundle.js": BUNDLE.replace("ENTRY", "express" if FULL else "etag")})
        self.same("bundle.js", made=True)

    def test_prettier(self):
        sources = sorted((tools() / "webpack" / "lib").glob("*.js"))[: 60 if FULL else 12]
        self.project({source.name: source.read_text() for source in sources})
        self.same(tools() / "prettier" / "bin" / "prettier.cjs", *[source.name for source in sources])


TRAPS = """const { watch } = require('watcher');
const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 9, 2, 96, 0, 0, 96, 1, 127, 1, 127, 3, 3, 2, 0, 1, 5, 3, 1, 0, 1, 7, 9, 2, 1, 117, 0, 0, 1,
  108, 0, 1, 10, 13, 2, 3, 0, 0, 11, 7, 0, 32, 0, 40, 2, 0, 11];
const { u, l } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes))).exports;
const data = watch(new Uint32Array(4), { name: 'data' });
const seen = {};
for (let i = 0; i < COUNT; i++) {
  try { i % 2 ? u() : l(0x7fffff00 + i); } catch (error) { seen[error.message] = (seen[error.message] ?? 0) + 1; }
  data[i & 3] = i + 1;
}
console.log(JSON.stringify(seen));
"""
WORKERS = """const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const { watch } = require('watcher');
if (!isMainThread) {
  const data = watch(new Uint32Array(16), { name: 'data' });
  for (let i = 0; i < 100; i++) data[i & 15] = workerData * 1000 + i + 1;
  parentPort.postMessage(data[15]);
} else (async () => {
  let sum = 0;
  for (let i = 0; i < COUNT; i += 5)
    for (const value of await Promise.all([0, 1, 2, 3, 4].map((k) => new Promise((done, failed) => {
      const worker = new Worker(__filename, { workerData: i + k });
      let value; worker.on('message', (text) => { value = text; }).on('error', failed).on('exit', () => done(value));
    })))) sum += value;
  console.log(sum);
})();
"""
SPAWNS = """const { spawnSync, spawn } = require('child_process');
const { watch } = require('watcher');
const data = watch(new Uint32Array(4), { name: 'data' });
let wrong = 0;
for (let i = 0; i < COUNT / 2; i++) {
  const done = spawnSync('/bin/echo', [i]);
  if (done.status !== 0 || `${done.stdout}` !== `${i}\\n`) wrong++;
  data[i & 3] = i + 1;
}
let left = COUNT / 2;
(function next() {
  if (left-- === 0) return console.log('wrong', wrong);
  spawn('/bin/true').on('exit', (status) => { if (status !== 0) wrong++; next(); });
})();
"""
SERVER = """const { watch } = require('watcher');
const express = require('express'), http = require('http');
const metrics = watch(new Uint32Array(8), { name: 'metrics' });
const app = express();
app.get('/n/:n', (request, response) => { metrics[request.params.n & 7]++; response.json({ n: +request.params.n, pid: 1 }); });
const server = app.listen(0, async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  let failed = 0, next = 0;
  const one = (n) => new Promise((done) => http.get({ port: server.address().port, path: `/n/${n}`, agent }, (response) => {
    let text = ''; response.on('data', (part) => { text += part; }).on('end', () => {
      if (response.statusCode !== 200 || JSON.parse(text).n !== n) failed++; done(); });
  }).on('error', () => { failed++; done(); }));
  await Promise.all(Array.from({ length: 16 }, async () => { while (next < COUNT) await one(next++); }));
  console.log('failed', failed, 'counted', metrics.reduce((a, b) => a + b));
  agent.destroy(); server.close();
});
"""
SHARED = """const { Worker, isMainThread, workerData } = require('worker_threads');
const { watch } = require('watcher');
if (isMainThread) {
  const memory = new SharedArrayBuffer(4096);
  globalThis.kept = watch(new Uint32Array(memory), { name: 'shared' });
  for (let id = 1; id <= 4; id++) new Worker(__filename, { workerData: { memory, id } });
} else {
  const { memory, id } = workerData, shared = new Uint32Array(memory);
  for (let i = 0; i < COUNT; i++) {
    const at = (i * 7 + id) & 1023, value = id * 2 ** 24 + i;
    if (i & 1) Atomics.store(shared, at, value); else shared[at] = value;
  }
}
"""
PRESSURE = """const { watch } = require('watcher');
let kept = [], waste = [];
for (let i = 0; i < 400; i++) {
  const data = watch(new Float64Array(8 + (i & 63)), { name: 'data' });
  const state = watch({ n: 0, list: [] }, { name: 'state' });
  for (let k = 0; k < 4; k++) { data[k] = i + k / 4 + 1; state.n = i + 1; }
  state.list.push(i);
  kept.push([data, state]); if (kept.length > 20) kept = kept.slice(10);
  waste.push(new Array(2000).fill(i)); if (i % 16 === 15) waste = [];
  if (i % 9 === 0) gc(); else if (i % 5 === 0) gc({ type: 'minor' });
}
console.log('done');
"""


class Hosts(Case):
    engines = ("auto",)

    def run_host(self, program, count, node, options=(), engine="auto"):
        """Plainly and watched; both must say the same. Gives the file of events: it may not fit into memory."""
        (self.directory / "app.js").write_text(program.replace("COUNT", str(count)))
        shutil.rmtree(self.directory / "out", ignore_errors=True)
        env = {"NODE_PATH": str(tools())}
        plain = self.plain_node(node, [*options, str(self.directory / "app.js")], {"NODE_PATH": f"{self.directory / 'stub'}:{tools()}"})
        command = [str(harness.BUILD / "tools" / "watcher-exec"), "--engine", engine, "--output", str(self.directory / "out"), "--", node]
        done = self.execute([*command, *options, str(self.directory / "app.js")], env, timeout=1700)
        self.assertEqual((done.stdout, done.returncode), (plain.stdout, plain.status), done.stderr[-600:])
        summary = json.loads((self.directory / "out" / "summary.json").read_text())
        self.assertEqual(summary["events_lost"], 0)
        return self.directory / "out" / "events.jsonl", plain.stdout.decode()

    def events(self, file, name, op="write"):
        with open(file) as lines:
            for line in lines:
                event = json.loads(line)
                if event["variable_name"] == name and event["op"] == op:
                    yield event

    def on_each(self, program, count, check, options=()):
        for version, node in NODES.items():
            for engine in ("auto", "inline"):
                with self.subTest(node=version, engine=engine):
                    check(*self.run_host(program, count, node, options, engine))

    def test_wasm_traps(self):
        count = 10000 if FULL else 1000

        def check(file, stdout):
            self.assertEqual(sum(json.loads(stdout).values()), count)
            self.assertEqual([event["after"]["value"] for event in self.events(file, "data")], list(range(1, count + 1)))

        self.on_each(TRAPS, count, check)

    def test_workers(self):
        count = 100 if FULL else 20

        def check(file, _):
            seen = sorted(event["after"]["value"] for event in self.events(file, "data"))
            self.assertEqual(seen, sorted(worker * 1000 + i + 1 for worker in range(count) for i in range(100)))

        self.on_each(WORKERS, count, check)

    def test_spawns(self):
        count = 1000 if FULL else 60

        def check(file, stdout):
            self.assertEqual(stdout, "wrong 0\n")
            self.assertEqual(len(list(self.events(file, "data"))), count // 2)

        self.on_each(SPAWNS, count, check)

    def test_server_under_load(self):
        count = 20000 if FULL else 600

        def check(file, stdout):
            self.assertEqual(stdout, f"failed 0 counted {count}\n")
            self.assertEqual(len(list(self.events(file, "metrics"))), count)

        self.on_each(SERVER, count, check)

    def test_shared_memory_of_workers(self):
        count = 250000 if FULL else 2500

        def check(file, _):
            seen, threads = {}, {}
            for event in self.events(file, "shared"):
                worker, number = divmod(event["after"]["value"], 2**24)
                seen.setdefault(worker, bytearray(count))[number] += 1
                threads.setdefault(worker, set()).add(event["thread_id"])
            self.assertEqual({worker: len(ids) for worker, ids in threads.items()}, {1: 1, 2: 1, 3: 1, 4: 1})
            self.assertEqual(len(set.union(*threads.values())), 4)
            for numbers in seen.values():
                self.assertEqual(numbers, b"\1" * count)

        self.on_each(SHARED, count, check)

    def test_heap_nearly_full(self):
        for version, node in NODES.items():
            for lap in range(50 if FULL else 2):
                with self.subTest(node=version, lap=lap):
                    file, stdout = self.run_host(PRESSURE, 0, node, ["--expose-gc", "--max-old-space-size=24"])
                    self.assertEqual(stdout, "done\n")
                    self.assertEqual(len(list(self.events(file, "data"))), 1600)
                    self.assertEqual(len(list(self.events(file, "state", "setattr"))), 1600)
                    self.assertEqual(len(list(self.events(file, "state", "append"))), 400)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.argv = [word for word in sys.argv if word != "--full"]
    unittest.main()
