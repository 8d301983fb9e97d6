#!/usr/bin/env python3
"""What watching costs a node program: prints figures and ratios measured in one run, asserts nothing.

    tests/bench/node.py [BUILD] [loops] [arrays] [peers] [tsc] [start]      default: all of them

  loops    a loop of `counter = counter + 1` in a function, hooked and plain, in the same process; one property of a watched object
           changed, its line told, beside a plain object
  arrays   a store into a watched Float64Array, beside the engine's own cost of a captured store (bench_engine)
  peers    the property again, beside libraries that call back at each change (node_peers/, by npm): ratios to a plain object
  tsc      TypeScript's compiler on a program that needs all of its library: with the shim, and with watching asked for
  start    a script that does nothing: plain, with an empty file loaded first, and with the shim and nothing watched

The ring is written without waiting for its reader: bursts are shorter than the ring, the least of many counts.
"""

import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "behaviour"))
SECTIONS = ("loops", "arrays", "peers", "tsc", "start")
WORDS = [word for word in sys.argv[1:] if word not in SECTIONS]
if WORDS:
    os.environ["WATCHER_BUILD"] = WORDS[0]
import harness  # noqa: E402 (needs the build's place)
import node_support  # noqa: E402

NODES = dict(sorted(dict(reversed(node_support.INTERPRETERS)).items()))  # one a version

MEASURE = """
const pause = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
function least(loops, each, laps, now) {
  const best = {};
  for (let lap = 0; lap < laps; lap++)
    for (const [name, loop] of Object.entries(loops)) {
      pause(15);
      const start = now();
      loop(each);
      const ns = (now() - start) / each;
      if (lap > 9) best[name] = Math.min(best[name] ?? 1e9, ns);
    }
  console.log(JSON.stringify(best));
}
const elapsed = () => Number(process.hrtime.bigint());
const processor = () => { const { user, system } = process.cpuUsage(); return (user + system) * 1000; };
const make = () => ({ count: 0, users: [{ age: 1 }, { age: 2 }] });
function flat(state, n) { for (let i = 0; i < n; i++) state.count = i; }
function nested(state, n) { const user = state.users[1]; for (let i = 0; i < n; i++) user.age = i; }
"""
PROGRAM = MEASURE + """
const { watch } = require('watcher');
function hooked(n) { let counter = 0; for (let i = 0; i < n; i++) counter = counter + 1; return counter; }
function plain(n) { let other = 0; for (let i = 0; i < n; i++) other = other + 1; return other; }
function text(n) { let word = ''; for (let i = 0; i < n; i++) word = 'some text'; return word; }
const bare = make(), watched = watch(make(), { name: 'state' });
least({
  plain, hooked, text, 'plain object': (n) => flat(bare, n), proxy: (n) => flat(watched, n),
  'plain, nested': (n) => nested(bare, n), 'proxy, nested': (n) => nested(watched, n),
}, 4000, 60, elapsed);
"""
ARRAYS = MEASURE + """
const { watch } = require('watcher');
function fill(data, n) { for (let i = 0; i < n; i++) data[i & 511] = i; }
const bare = new Float64Array(512), watched = watch(new Float64Array(512), { name: 'data' });
least({ plain: (n) => fill(bare, n), captured: (n) => fill(watched, n) }, 2000, 40, processor);
"""
PEERS = MEASURE + """
(async () => {
  const { createRequire } = require('module'), { pathToFileURL } = require('url');
  const from = createRequire(process.argv[2] + '/'), load = (name) => import(pathToFileURL(from.resolve(name)));
  const told = { value: 0, times: 0 };
  const rows = {
    'on-change': async () => (await load('on-change')).default(make(), (path, value) => { told.value = value; told.times++; }),
    'observable-slim': async () => {
      const { default: slim } = await load('observable-slim');
      return slim.create(make(), false, (changes) => { told.value = changes[0].newValue; told.times++; });
    },
    '@vue/reactivity': async () => {
      const { reactive, effect } = await load('@vue/reactivity'), state = reactive(make());
      effect(() => { told.value = state.count; told.times++; });
      effect(() => { told.value = state.users[1].age; told.times++; });
      return state;
    },
    watcher: async () => require('watcher').watch(make(), { name: 'state' }),
  };
  const name = process.argv[3], bare = make(), state = await rows[name]();
  least({ plain: (n) => flat(bare, n), flat: (n) => flat(state, n), 'plain, nested': (n) => nested(bare, n), nested: (n) => nested(state, n) },
        4000, 60, elapsed);
  if (name !== 'watcher' && told.times < 2 * 60 * 3999) throw new Error(`${name} told ${told.times} changes`);
})();
"""
RULES = '[[watch]]\nfile = "loop.js"\nlocal = ["counter", "word"]\n'
PEER_NAMES = ("watcher", "on-change", "observable-slim", "@vue/reactivity")


def run(directory, node, program, *arguments, options=()):
    """What the program measured, under Watcher unless `options` is None."""
    (directory / "loop.js").write_text(program)
    (directory / "rules.toml").write_text(RULES)
    command = [node, directory / "loop.js", *map(str, arguments)]
    if options is not None:
        command = [harness.BUILD / "tools/watcher-exec", "--config", directory / "rules.toml", "--output", directory / "out", *options, *command]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{node} failed: {done.stderr[-600:]}")
    return json.loads(done.stdout)


def loops(directory):
    print("ns an iteration")
    for version, node in NODES.items():
        for position in ("exact", "fast"):
            best = run(directory, node, PROGRAM, options=["--position", position])
            print(f"  {version:3} {position:5} " + "  ".join(f"{name} {value:.1f}" for name, value in best.items()), flush=True)


def engine_cost():
    """bench_engine's processor time of a store into pages of its own."""
    told = subprocess.run([harness.BUILD / "tests/bench/bench_engine", "inline"], capture_output=True, text=True, check=True).stdout
    return float(re.search(r"own page +([\d.]+) ns", told)[1])


def arrays(directory):
    print("processor time of a captured store, engine `inline`, ns; beside the engine's own in this run")
    for version, node in NODES.items():
        own = engine_cost()
        for position in ("exact", "fast"):
            best = run(directory, node, ARRAYS, options=["--position", position, "--engine", "inline"])
            print(f"  {version:3} {position:5} plain {best['plain']:.1f}  captured {best['captured']:.0f}  engine {own:.0f}  "
                  f"{best['captured'] / own:.2f} x", flush=True)


def peers(directory):
    home = node_support.cache().parent / "node-peers"
    node_support.install(home, HERE / "node_peers", (home / "node_modules" / ".package-lock.json").exists)
    print("one property changed, ns (times a plain object's); each in a process of its own")
    for version, node in NODES.items():
        for name in PEER_NAMES:
            best = run(directory, node, PEERS, home, name, options=() if name == "watcher" else None)
            print(f"  {version:3} {name:16} flat {best['flat']:7.0f} ({best['flat'] / best['plain']:.0f} x)  "
                  f"two steps down {best['nested']:7.0f} ({best['nested'] / best['plain, nested']:.0f} x)", flush=True)


def cost_ms(command, environment):
    """Processor time and elapsed time of a run."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000, elapsed * 1000


def in_turns(arms, command, laps):
    """{arm: both kinds of time of each lap}; `command` gives that of an arm."""
    times = {arm: [] for arm in arms}
    for _ in range(laps):
        for arm, environment in arms.items():
            times[arm].append(cost_ms(command(arm), environment))
    return times


def bare_environment():
    return {key: text for key, text in os.environ.items() if not key.startswith(("WATCHER_", "NODE_OPTIONS"))}


def tsc(directory):
    home = node_support.cache().parent / "node-hosts"
    node_support.install(home, HERE.parent / "behaviour" / "node" / "hosts", (home / "node_modules" / ".package-lock.json").exists)
    (directory / "main.ts").write_text("export const all = [1, 2, 3].map((n) => ({ n, text: `${n}` }));\n")
    shim = dict(bare_environment(), LD_PRELOAD=node_support.PRELOAD)
    asked = {position: dict(shim, WATCHER_OUTPUT=str(directory / "told"), WATCHER_POSITION=position, WATCHER_LOG_LEVEL="ERROR")
             for position in ("fast", "exact")}
    arms = {"plain": bare_environment(), "shim": shim, "fast": asked["fast"], "exact": asked["exact"]}
    print("processor time of tsc, in turns: least (median) of 9, s, and more than plain: of the least, and the median of the turns'")
    compiler = [home / "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--target", "es2022", directory / "main.ts"]
    for version, node in NODES.items():
        spent = {arm: [one[0] / 1000 for one in all_] for arm, all_ in in_turns(arms, lambda _: [node, *compiler], 9).items()}
        row = [f"plain {min(spent['plain']):.2f} ({statistics.median(spent['plain']):.2f})"]
        for arm in list(arms)[1:]:
            over = statistics.median(one / plain for one, plain in zip(spent[arm], spent["plain"]))
            row.append(f"{arm} {(min(spent[arm]) / min(spent['plain']) - 1) * 100:+.1f} ({(over - 1) * 100:+.1f}) %")
        print(f"  {version:3} " + "  ".join(row), flush=True)


def start(directory):
    print("start-up of node on a script that does nothing, in turns, ms more than plain: least (median) of 60; `--require` is of an empty file")
    script, empty = directory / "nothing.js", directory / "empty.js"
    script.write_text("0;\n")
    empty.write_text("")
    base = bare_environment()
    arms = {"plain": base, "--require": dict(base, NODE_OPTIONS=f"--require {empty}"), "shim": dict(base, LD_PRELOAD=node_support.PRELOAD)}
    for version, node in NODES.items():
        times = in_turns(arms, lambda _: [node, script], 60)
        for which, name in enumerate(("processor", "elapsed")):
            least, middle = ({arm: of(pair[which] for pair in all_) for arm, all_ in times.items()} for of in (min, statistics.median))
            more = "  ".join(f"{arm} {least[arm] - least['plain']:+.1f} ({middle[arm] - middle['plain']:+.1f})" for arm in arms if arm != "plain")
            print(f"  {version:3} {name:9} plain {least['plain']:5.1f} ({middle['plain']:5.1f})  {more}", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for section in [word for word in sys.argv[1:] if word in SECTIONS] or SECTIONS:
            {"loops": loops, "arrays": arrays, "peers": peers, "tsc": tsc, "start": start}[section](pathlib.Path(name))
