#!/usr/bin/env python3
"""Do node's own tests of buffers, zlib, workers and WebAssembly end as they do without Watcher?

    node_own_tests.py DIR --node ~/.cache/watcher-tests/node/node_modules/node-24/bin/node

DIR is a copy of node's repository (its folder `test` suffices) of about that version; nothing of it is kept here. Each file is run
plainly and in each mode, with the flags that it names, and status, standard output and standard error are compared:

  shim      LD_PRELOAD alone: nobody watches
  asked     LD_PRELOAD with WATCHER_OUTPUT: everything is ready for watching, though nothing is watched
  names     watcher-exec with every name of every file outside node_modules wanted
  memory    a file loaded first watches the first 200 buffers and typed arrays that a thread makes; plainly, the same file does so with the stub

A file that differs is run again, both ways, three times: what differs from itself without Watcher, too, is said apart.
"""

import argparse
import collections
import contextlib
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "behaviour"))
from harness import BUILD  # noqa: E402
from node_support import PRELOAD, STUB  # noqa: E402

LISTS = {
    "buffers": (
        ["parallel"],
        r"test-(buffer|arraybuffer|blob|zlib|worker|wasm|webassembly|typedarray|string-decoder|structuredClone|crypto-random|fs-read|v8-ser|whatwg-encoding|net-onread|mess)",
    ),
    "wide": (
        ["parallel", "es-module", "module-hooks", "async-hooks", "test-runner", "sequential"],
        r"(?!test-(http|https|http2|tls|dgram|dns|repl|inspector|debugger|quic|eslint|readline|timers|trace|snapshot|single-executable|url|path|whatwg-url)\b)test-",
    ),
}
LAPS = 4
LONGEST = 60  # seconds
WATCH_ALL = """'use strict';
const { watch } = require('watcher');
const terms = { name: 'any' };
let left = 200; // some tests make hundreds of thousands
// node's TypeScript parser works in a memory of WebAssembly's: tens of millions of stores
const kept = (value) => { if (left-- <= 0 || new Error().stack?.includes?.('amaro')) return value; try { return watch(value, terms); } catch (error) { if (!/stack/i.test(error.message)) process._rawDebug('watch() failed', error); return value; } };
for (const name of ['alloc', 'allocUnsafe', 'allocUnsafeSlow', 'from', 'concat', 'copyBytesFrom']) {
  const original = Buffer[name];
  if (original) Buffer[name] = { [name](...words) { return kept(Reflect.apply(original, this, words)); } }[name];
}
const kinds = [ArrayBuffer, SharedArrayBuffer, DataView, ...Object.getOwnPropertyNames(globalThis).filter((key) => /^(Big)?(Int|Uint|Float)\\d+(Clamped)?Array$/.test(key)).map((key) => globalThis[key])];
for (const Kind of kinds) {
  const ours = new Proxy(Kind, { construct: (target, words, as) => kept(Reflect.construct(target, words, as === ours ? target : as)) });
  Object.defineProperty(Kind.prototype, 'constructor', { value: ours });
  Object.defineProperty(globalThis, Kind.name, { value: ours, writable: true, configurable: true });
}
"""
RULES = '[[watch]]\nfile = "*"\nboth = ["*"]\n'
THREAD_OF_HOOKS = "18 and 20: hooks of import, anybody's, live in a thread that node counts as a worker"
COMPILED_ANEW = "it prints a trace of node's own code, compiled anew where V8's flags have changed: Module._extensions..js for Object..js"
CACHED = "the compile cache of the process has boot.cjs, too"
NOT_FOUND = "it prints the trace of a module that is not found, with the frames of node's hooks and ours"
COLLECTED = "18: whether a file handle that nobody closes is collected, and warned of, before the end depends on when V8 collects"
LOADED_FIRST = "as with any file that is loaded by --require"
# What is known to differ: in which modes, and why.
DIFFERENT = {
    "test-worker-init-failure.js": ("shim asked names memory", "loaded first, we meet EMFILE where node says ERR_INVALID_PACKAGE_CONFIG; node 20 waits for its thread of hooks for ever"),
    "test-worker-event.js": ("names memory", THREAD_OF_HOOKS),
    "test-worker-name.js": ("names memory", THREAD_OF_HOOKS),
    "test-worker-execargv.js": ("asked names memory", COMPILED_ANEW),
    "test-worker-unsupported-things.js": ("asked names memory", COMPILED_ANEW),
    "test-worker-debug.js": ("shim asked names memory", f"18 and 20: the debugger does not stop at a worker's first line, {LOADED_FIRST}"),
    "test-cli-node-options.js": ("shim", f"--trace-sync-io shows how a worker's first files are found, {LOADED_FIRST}"),
    "test-compile-cache-bad-syntax.js": ("shim", CACHED),
    "test-compile-cache-success.js": ("shim", CACHED),
    "test-compile-cache-api-success.js": ("shim", CACHED),
    "test-module-main-preserve-symlinks-fail.js": ("shim", NOT_FOUND),
    "test-runner-flag-propagation.js": ("shim", "the test reads node's own options, where boot.cjs is among the modules of --require"),
    "test-npm-install.js": ("shim", NOT_FOUND),
    "test-structuredClone-global.js": ("memory", "18: the test compares the global function with node's internal one; ours stands in front, for what is watched"),
    "test-release-npm.js": ("shim", NOT_FOUND),
    "test-module-hooks-resolve-load-import-inline-typescript.mjs": ("shim", NOT_FOUND),
    "test-module-hooks-resolve-load-import-inline-typescript-override.mjs": ("shim", NOT_FOUND),
    "test-fs-read-empty-buffer.js": ("memory", COLLECTED),
    "test-wasm-web-api.js": ("names", COLLECTED),
}
# What differs from run to run: numbers of processes, ports, addresses and durations.
NOISE = [(rb"0x[0-9a-f]+", b"0x"), (rb"\d+", b"0"), (rb"(?m)^\(Use `node.*\n", b"")]


def normal(text):
    for pattern, instead in NOISE:
        text = re.sub(pattern, instead, text)
    return text


def words_of(path, key):
    return " ".join(re.findall(rf"(?m)^// {key}: (.*)$", path.read_text(errors="replace")[:4000])).split()


class Runner:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.without = {}  # results without Watcher, which most modes share
        (directory / "rules.toml").write_text(RULES)
        shutil.copytree(STUB, directory / "without" / "node_modules" / "watcher")
        for side in ("with", "without"):
            (directory / side).mkdir(exist_ok=True)
            (directory / side / "watch_all.cjs").write_text(WATCH_ALL)

    def command(self, path, mode, watched):
        words = words_of(path, "Flags")
        if mode == "memory":
            words = ["--require", str(self.directory / ("with" if watched else "without") / "watch_all.cjs"), *words]
        node = [str(self.options.node), *words, str(path)]
        if mode == "names" and watched:
            return [str(BUILD / "tools" / "watcher-exec"), "--config", str(self.directory / "rules.toml"), "--", *node]
        return node

    def execute(self, path, mode, watched):
        home = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
        env = {key: text for key, text in os.environ.items() if not key.startswith(("WATCHER_", "NODE_"))}
        env.update(word.split("=", 1) for word in words_of(path, "Env"))
        env.update(NODE_TEST_DIR=str(home), NODE_PATH=str(home))
        if watched and mode != "names":
            env["LD_PRELOAD"] = PRELOAD
        if watched and mode != "shim":
            env["WATCHER_OUTPUT"] = str(home / "out")
        command = self.command(path, mode, watched)
        child = subprocess.Popen(
            command, cwd=self.options.directory, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        try:
            texts = child.communicate(timeout=LONGEST)
            said = [normal(text.replace(bytes(home), b"HOME").replace(b"without/watch_all", b"with/watch_all")) for text in texts]
            result = child.returncode, said[0], said[1]
        except subprocess.TimeoutExpired:
            result = f"no end in {LONGEST} s", b"", b""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        summary = home / "out" / "summary.json"
        events = json.loads(summary.read_text()).get("events_written", 0) if summary.exists() else 0
        shutil.rmtree(home, ignore_errors=True)
        return result, events

    def plainly(self, path, mode, lap):
        results = self.without.setdefault((path, mode == "memory"), [])
        while len(results) <= lap:
            results.append(self.execute(path, mode, False)[0])
        return results[: lap + 1]

    def compare(self, path, mode):
        """(verdict, status without Watcher, events, what differs)"""
        told, events = [], 0
        for lap in range(1 + LAPS):
            plain = self.plainly(path, mode, lap)
            result, count = self.execute(path, mode, True)
            told.append(result)
            events = max(events, count)
            if set(plain) & set(told):
                return "same", plain[0][0], events, None
        known = mode in DIFFERENT.get(path.name, ("",))[0].split()
        return ("unsteady" if len(set(plain)) > 1 else "known" if known else "differs"), plain[0][0], events, (plain[0], told[0])


def tail(result):
    return f"{result[0]} {result[1][-300:]!r} {result[2][-900:]!r}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--node", type=pathlib.Path, required=True)
    parser.add_argument("--modes", nargs="*", default=["shim", "asked", "names", "memory"])
    parser.add_argument("--list", choices=LISTS, default="buffers")
    parser.add_argument("--only", default="", help="a regular expression of file names, of the list")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.directory = options.directory.resolve()
    folders, pattern = LISTS[options.list]
    with tempfile.TemporaryDirectory(prefix="node-own-tests-") as name:
        runner = Runner(options, pathlib.Path(name))
        failed = [run_list(runner, mode, folders, pattern) for mode in options.modes]
    return 1 if any(failed) else 0


def run_list(runner, mode, folders, pattern):
    options, verdicts, passed, events = runner.options, collections.Counter(), 0, 0
    for folder in folders:
        files = sorted((options.directory / "test" / folder).glob("*.*js"))
        paths = [path for path in files if re.match(pattern, path.name) and re.search(options.only, path.name)]
        with concurrent.futures.ThreadPoolExecutor(1 if folder == "sequential" else options.jobs) as pool:
            for path, result in zip(paths, pool.map(lambda path: runner.compare(path, mode), paths)):
                verdict, status, told, sides = result
                verdicts[verdict] += 1
                passed += status == 0
                events += told
                if sides is not None:
                    print(f"  {verdict} {folder}/{path.name}\n    without {tail(sides[0])}\n    with    {tail(sides[1])}", flush=True)
    print(f"{mode}: {verdicts.total()} files, {passed} of them succeed plainly, {dict(verdicts)}, {events} events", flush=True)
    return verdicts["differs"] != 0


if __name__ == "__main__":
    sys.exit(main())
