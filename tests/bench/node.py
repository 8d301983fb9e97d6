#!/usr/bin/env python3
"""What watching costs a node program: prints figures and ratios measured in one run, asserts nothing.

    tests/bench/node.py [BUILD]

  hooked store     a loop of `counter = counter + 1` in a function, hooked and plain, in the same process
  proxy            one property of a watched object changed, its line told, beside a plain object
  start-up         a script that does nothing: plain, with an empty file loaded first, and with the shim and nothing watched

The ring is written without waiting for its reader: bursts are shorter than the ring, the least of many counts.
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "behaviour"))
if len(sys.argv) > 1:
    os.environ["WATCHER_BUILD"] = sys.argv[1]
import harness  # noqa: E402 (needs the build's place)
import node_support  # noqa: E402

PROGRAM = """
const { watch } = require('watcher');
function hooked(n) { let counter = 0; for (let i = 0; i < n; i++) counter = counter + 1; return counter; }
function plain(n) { let other = 0; for (let i = 0; i < n; i++) other = other + 1; return other; }
function text(n) { let word = ''; for (let i = 0; i < n; i++) word = 'some text'; return word; }
function flat(state, n) { for (let i = 0; i < n; i++) state.count = i; }
function nested(state, n) { const user = state.users[1]; for (let i = 0; i < n; i++) user.age = i; }
const make = () => ({ count: 0, users: [{ age: 1 }, { age: 2 }] });
const bare = make(), watched = watch(make(), { name: 'state' });
const loops = {
  plain, hooked, text, 'plain object': (n) => flat(bare, n), proxy: (n) => flat(watched, n),
  'plain, nested': (n) => nested(bare, n), 'proxy, nested': (n) => nested(watched, n),
};
const pause = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const best = {};
for (let lap = 0; lap < 60; lap++)
  for (const [name, loop] of Object.entries(loops)) {
    pause(15);
    const start = process.hrtime.bigint();
    loop(4000);
    const each = Number(process.hrtime.bigint() - start) / 4000;
    if (lap > 9) best[name] = Math.min(best[name] ?? 1e9, each);
  }
console.log(JSON.stringify(best));
"""
RULES = '[[watch]]\nfile = "loop.js"\nlocal = ["counter", "word"]\n'


def loops(directory):
    print("ns an iteration")
    (directory / "loop.js").write_text(PROGRAM)
    (directory / "rules.toml").write_text(RULES)
    for version, node in node_support.INTERPRETERS:
        for position in ("exact", "fast"):
            done = subprocess.run([harness.BUILD / "tools/watcher-exec", "--config", directory / "rules.toml", "--position", position,
                                   "--output", directory / "out", node, directory / "loop.js"], capture_output=True, text=True)
            best = json.loads(done.stdout)
            print(f"  {version:3} {position:5} " + "  ".join(f"{name} {value:.1f}" for name, value in best.items()))


def cost_ms(command, environment):
    """Processor time and elapsed time of a run."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True)
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000, elapsed * 1000


def start_up(directory):
    print("start-up of node on a script that does nothing, in turns, ms more than plain: least (median) of 60; `--require` is of an empty file")
    script, empty = directory / "nothing.js", directory / "empty.js"
    script.write_text("0;\n")
    empty.write_text("")
    base = {key: text for key, text in os.environ.items() if not key.startswith(("WATCHER_", "NODE_OPTIONS"))}
    arms = {"plain": base, "--require": dict(base, NODE_OPTIONS=f"--require {empty}"), "shim": dict(base, LD_PRELOAD=node_support.PRELOAD)}
    for version, node in node_support.INTERPRETERS:
        times = {arm: [] for arm in arms}
        for _ in range(60):
            for arm, environment in arms.items():
                times[arm].append(cost_ms([node, script], environment))
        for which, name in enumerate(("processor", "elapsed")):
            least, middle = ({arm: of(pair[which] for pair in all_) for arm, all_ in times.items()} for of in (min, statistics.median))
            more = "  ".join(f"{arm} {least[arm] - least['plain']:+.1f} ({middle[arm] - middle['plain']:+.1f})" for arm in arms if arm != "plain")
            print(f"  {version:3} {name:9} plain {least['plain']:5.1f} ({middle['plain']:5.1f})  {more}", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        loops(pathlib.Path(name))
        start_up(pathlib.Path(name))
