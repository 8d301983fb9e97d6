#!/usr/bin/env python3
"""Do the tests of the language (test262) end in node as they do without Watcher, with every name watched?

    node_test262.py DIR [--node NODE …] [--every N]

DIR is a copy of test262 (its folders `harness` and `test` suffice); nothing of it is kept here. The tests of the language's
syntax are loaded as CommonJS files, sloppy and strict, or as modules, many in a process, plainly and watched; what each test
says is compared. --every N takes each Nth process of tests only.

Tests change the language's own objects. Since 22.15 a program with hooks of `import` does not load files any more once
Array.prototype has an element of its own: such processes are run plainly with a hook that does nothing, too.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "behaviour"))
from harness import BUILD  # noqa: E402
from node_support import INTERPRETERS  # noqa: E402

TOGETHER = {"script": 150, "module": 40}  # tests in a process
RULES = '[[watch]]\nfile = "*.js"\nlocal = ["*"]\nglobal = ["*"]\n'
NO_HOOKS = "require('module').registerHooks?.({ resolve: (name, context, next) => next(name, context) });\n"
RUN = """
const fs = require('fs'), vm = require('vm'), [home, list] = process.argv.slice(2), included = new Set();
const include = (name) => {
  if (included.has(name)) return;
  included.add(name);
  vm.runInThisContext(fs.readFileSync(`${home}/harness/${name}`, 'utf8'), { filename: name });
};
const evalScript = (text) => vm.runInThisContext(text), write = fs.writeSync, setLater = setTimeout, setSoon = setImmediate;
const createRealm = () => { const context = vm.createContext(); return { global: vm.runInContext('globalThis', context), evalScript: (text) => vm.runInContext(text, context) }; };
globalThis.$262 = { createRealm, evalScript, detachArrayBuffer: (buffer) => structuredClone(buffer, { transfer: [buffer] }), gc() {}, global: globalThis, agent: {} };
globalThis.print = () => {};
['assert.js', 'sta.js', 'doneprintHandle.js', 'propertyHelper.js', 'compareArray.js'].forEach(include);
const told = (error) => { try { return `${error.name}: ${error.message}`.split('\\n')[0].replace(/\\/\\S*/g, ''); } catch { return 'odd'; } };
const say = (text) => write(1, text + '\\n');
process.on('unhandledRejection', () => {}).on('uncaughtException', (error) => say(`uncaught: ${told(error)}`));
(async () => {
  for (const test of JSON.parse(fs.readFileSync(list))) {
    let end, result = 'pass';
    const ended = new Promise((resolve) => { end = resolve; });
    globalThis.$DONE = (error) => end(error ? told(error) : 'pass');
    try {
      test.includes.forEach(include);
      await (test.kind === 'module' ? import(test.file) : require(test.file));
      if (test.isAsync) { setLater(() => end('no end'), 1000); result = await ended; }
      else await new Promise((resolve) => setSoon(resolve));
    } catch (error) { result = told(error); }
    say(`${test.name}: ${result}`);
  }
  process.exit(0);
})();
"""


def field(text, name):
    """A list in a test's head, of either form."""
    found = re.search(name + r":\s*\[(.*?)\]", text, re.S) or re.search(name + r":\s*\n((?:\s+- .*\n)+)", text)
    return re.findall(r"[\w./-]*\w", re.sub(r"^\s*-", "", found[1], flags=re.M)) if found else []


def prepare(home, place):
    """{kind: its tests}; scripts are written to `place`."""
    tests = {"script": [], "module": []}
    (home / "test" / "package.json").write_text('{"type": "module"}\n')
    for file in sorted(path for part in ("language", "annexB/language") for path in (home / "test" / part).rglob("*.js")):
        text = file.read_text()
        head = text.partition("/*---")[2].partition("---*/")[0]
        flags = field(head, "flags")
        if "_FIXTURE" in file.name or "CanBlockIsFalse" in flags:
            continue
        test = {"includes": field(head, "includes"), "isAsync": "async" in flags}
        name = str(file.relative_to(home / "test"))
        if "module" in flags:
            tests["module"].append({**test, "kind": "module", "name": name, "file": str(file)})
            continue
        for strict in [False] * ("onlyStrict" not in flags) + [True] * (not {"raw", "noStrict"} & set(flags)):
            written = place / f"t{len(tests['script'])}.js"
            written.write_text('"use strict"; ' * strict + text)
            tests["script"].append({**test, "kind": "script", "name": name + " strict" * strict, "file": str(written)})
    return tests


class Process:
    """Tests that run in one process, in the same order plainly and watched."""

    def __init__(self, home, place, number, tests):
        self.home, self.place, self.number, self.tests = home, place, number, tests

    def lines(self, command):
        listed = self.place / f"list{self.number}.json"
        listed.write_text(json.dumps(self.tests))
        done = subprocess.run([*command, self.place / "run.cjs", self.home, listed], capture_output=True, text=True, errors="replace", timeout=300)
        return [*done.stdout.splitlines(), f"status {done.returncode}"]

    def compare(self, node):
        """(tests, events, the lines that differ)"""
        with tempfile.TemporaryDirectory(dir=self.place) as output:
            watched = self.lines([BUILD / "tools/watcher-exec", "--config", self.place / "rules.toml", "--output", output, "--", node])
            events = json.loads((pathlib.Path(output) / "summary.json").read_text())["events_written"]
        plain = self.lines([node])
        if watched != plain:
            plain = self.lines([node, "--require", self.place / "hooks.cjs"])
        return len(plain) - 1, events, [pair for pair in zip(plain, watched) if pair[0] != pair[1]] + [()] * abs(len(plain) - len(watched))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("directory", type=pathlib.Path)
    arguments.add_argument("--node", nargs="+", default=[node for _, node in INTERPRETERS])
    arguments.add_argument("--every", type=int, default=1)
    given = arguments.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name:
        place, home = pathlib.Path(name), given.directory.resolve()
        for file, text in {"run.cjs": RUN, "hooks.cjs": NO_HOOKS, "rules.toml": RULES}.items():
            (place / file).write_text(text)
        tests = prepare(home, place)
        groups = [of[at:at + TOGETHER[kind]] for kind, of in tests.items() for at in range(0, len(of), TOGETHER[kind])][::given.every]
        processes = [Process(home, place, number, group) for number, group in enumerate(groups)]
        for node in given.node:
            count = events = differ = 0
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
                for ran, told, different in pool.map(lambda process: process.compare(node), processes):
                    count, events, differ = count + ran, events + told, differ + len(different)
                    for pair in different:
                        print("  plain, watched:", *pair, sep="\n    ")
            failed |= differ > 0 or events == 0
            version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
            print(f"{version}: {count} tests, {events} events, {differ} differ", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
