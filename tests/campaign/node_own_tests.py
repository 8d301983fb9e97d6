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
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "behaviour"))
from harness import BUILD  # noqa: E402
from node_support import PRELOAD, STUB  # noqa: E402

FILES = r"test-(buffer|arraybuffer|blob|zlib|worker|wasm|webassembly|typedarray|string-decoder|structuredClone|crypto-random|fs-read|v8-ser|whatwg-encoding|net-onread|mess)"
LAPS = 3
WATCH_ALL = """'use strict';
const { watch } = require('watcher');
const terms = { name: 'any' };
let left = 200; // some tests make hundreds of thousands
const kept = (value) => { if (left-- <= 0) return value; try { return watch(value, terms); } catch (error) { process._rawDebug('watch() failed', error); return value; } };
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
# What differs from run to run: numbers of processes, ports, addresses and durations.
NOISE = [(rb"0x[0-9a-f]+", b"0x"), (rb"\d+", b"0"), (rb"(?m)^\(Use `node.*\n", b"")]


def normal(text):
    for pattern, instead in NOISE:
        text = re.sub(pattern, instead, text)
    return text


class Runner:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.tests = options.directory / "test" / "parallel"
        (directory / "watch_all.cjs").write_text(WATCH_ALL)
        (directory / "rules.toml").write_text(RULES)
        shutil.copytree(STUB, directory / "stub" / "watcher")

    def command(self, path, mode, watched):
        flags = re.findall(r"(?m)^// Flags: (.*)$", path.read_text(errors="replace")[:4000])
        words = " ".join(flags).split()
        if mode == "memory":
            words = ["--require", str(self.directory / "watch_all.cjs"), *words]
        node = [str(self.options.node), *words, str(path)]
        if mode == "names" and watched:
            return [str(BUILD / "tools" / "watcher-exec"), "--config", str(self.directory / "rules.toml"), "--", *node]
        return node

    def execute(self, path, mode, watched):
        home = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
        env = {key: text for key, text in os.environ.items() if not key.startswith(("WATCHER_", "NODE_"))}
        env.update(NODE_TEST_DIR=str(home), NODE_PATH=str(self.directory / "stub") if mode == "memory" and not watched else str(home))
        if watched and mode != "names":
            env["LD_PRELOAD"] = PRELOAD
        if watched and mode != "shim":
            env["WATCHER_OUTPUT"] = str(home / "out")
        try:
            done = subprocess.run(self.command(path, mode, watched), cwd=self.options.directory, env=env, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
            said = [re.sub(re.escape(str(home)).encode(), b"HOME", text) for text in (done.stdout, done.stderr)]
            result = done.returncode, normal(said[0]), normal(said[1])
        except subprocess.TimeoutExpired:
            result = "no end in 120 s", b"", b""
        summary = home / "out" / "summary.json"
        events = json.loads(summary.read_text()).get("events_written", 0) if summary.exists() else 0
        shutil.rmtree(home, ignore_errors=True)
        return result, events

    def compare(self, path, mode):
        """(verdict, status without Watcher, events, what differs)"""
        plain, told, events = [], [], 0
        for _ in range(1 + LAPS):
            plain.append(self.execute(path, mode, False)[0])
            result, count = self.execute(path, mode, True)
            told.append(result)
            events = max(events, count)
            if set(plain) & set(told):
                return "same", plain[0][0], events, None
        return ("unsteady" if len(set(plain)) > 1 else "differs"), plain[0][0], events, (plain[0], told[0])


def tail(result):
    return f"{result[0]} {result[1][-300:]!r} {result[2][-900:]!r}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--node", type=pathlib.Path, required=True)
    parser.add_argument("--modes", nargs="*", default=["shim", "asked", "names", "memory"])
    parser.add_argument("--only", default=FILES, help="a regular expression of file names")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.directory = options.directory.resolve()
    with tempfile.TemporaryDirectory(prefix="node-own-tests-") as name:
        runner = Runner(options, pathlib.Path(name))
        paths = sorted(path for path in runner.tests.iterdir() if re.match(options.only, path.name) and path.suffix in (".js", ".mjs"))
        failed = False
        for mode in options.modes:
            with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
                results = list(pool.map(lambda path: runner.compare(path, mode), paths))
            verdicts = collections.Counter(verdict for verdict, *_ in results)
            passed = sum(status == 0 for _, status, *_ in results)
            print(f"{mode}: {len(paths)} files, {passed} of them succeed plainly, {dict(verdicts)}, {sum(events for _, _, events, _ in results)} events", flush=True)
            for path, (verdict, _, _, sides) in zip(paths, results):
                if sides is not None:
                    failed |= verdict == "differs"
                    print(f"  {verdict} {path.name}\n    without {tail(sides[0])}\n    with    {tail(sides[1])}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
