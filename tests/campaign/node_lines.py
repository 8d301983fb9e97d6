"""Line fuzz: generated functions store values that say which line stores them, hot enough for every tier of V8, across
two files, in loops, closures, generators and conditional expressions; programs of the other shapes that V8's compilers
treat alike: see SHAPES. In full (--full): 20,000 writes a version."""

import pathlib
import random
import shutil
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "behaviour"))
import node_support  # noqa: E402

FULL = "--full" in sys.argv
SEEDS = 4 if FULL else 1
FUNCTIONS = 60 if FULL else 25
SECOND_FILE = 100000  # added to the values of the second file


def module(seed, functions, base, other):
    dice = random.Random(seed)
    lines = ["'use strict'; const A = globalThis.__A, F = globalThis.__F;", f"const O = {f'require({other!r})' if other else 'null'};"]
    lines += ["// " + "x" * dice.randint(0, 60) for _ in range(dice.randint(0, 5))]
    names = []

    def statement():
        kind, n = dice.randint(0, 10), len(lines) + 1 + base
        if kind < 3:
            lines.append(f"  A[(i + {dice.randint(0, 50)}) & 511] = {n};")
        elif kind == 3:
            lines.append(f"  F[(i * 3) & 255] = {n} + 0.5 - 0.5;")
        elif kind == 4:
            lines.append(f"  if (i & 1) {{ A[{dice.randint(0, 500)}] = {n}; }}")
        elif kind == 5:
            lines.append(f"  for (let j = 0; j < 3; j++) A[(j + i) & 511] = {n};")
        elif kind == 6:
            lines.append("  A[x & 511] =")
            lines.append(f"     {n};")
        elif kind == 7:
            lines.append(f"  s = (A[i & 511] = {n}) + (i | 0);")
        elif kind == 8:
            lines.append(f"  x = i > 2 ? (A[7] = {n}) : (A[9] = {n});")
        elif kind == 9 and names:
            lines.append(f"  s += {dice.choice(names)}(i + 1, x);")
        else:
            lines.append(f"  [1, 2].forEach((k) => {{ A[k] = {n}; }}); s += Math.sqrt(i + x) | 0;")

    for number in range(functions):
        name, kind = f"f{number}", dice.randint(0, 6)
        opening = {4: f"const {name} = (i, x) => {{ let s = 0;", 5: f"function {name}(i, x) {{ let s = 0; try {{",
                   6: f"function {name}(i, x) {{ let s = 0; const g = function* () {{"}
        lines.append(opening.get(kind, f"function {name}(i, x) {{ let s = 0;"))
        for _ in range(dice.randint(1, 6)):
            statement()
        if other and dice.random() < 0.5:
            lines.append(f"  s += O.f{dice.randint(0, functions - 1)}(i, s & 7);")
        lines.append({5: "  return s; } finally { x = 0; } }", 6: "  yield s; }; for (const v of g()) s += v; return s; }"}.get(kind, "  return s; }"))
        names.append(name)
    lines.append("module.exports = { " + ", ".join(names) + " };")
    return "\n".join(lines) + "\n"


# Each is some lines; {n} is the line that stores, {n0} the line before, {i}, {k} small numbers. D holds bytes: of a line's
# number the last one.
SHAPES = [
    ["A[i & 511] = {n};", "A[i & 511] = {n};", "A[i & 511] = {n};"],  # checks of the first are good for the others
    ["A[{i}] = {n}; A[{k}] = {n}; A[i & 63] = {n};"],
    ["A[{i}] = A[{k}] = A[{i} + 1] = {n};"],
    ["F[{i} & 255] = F[{k} & 255] =", "  {n0};"],
    ["for (let j = 0; j < 5; j++) {{", "  A[j + {i}] = {n};", "  if (j > 2) A[j] = {n}; else", "    F[j] = {n};", "}}"],
    ["for (let j = 0; j < 4; j++) {{", "  s += j;", "  A[j + {i}] = {n};", "}}"],
    ["for (let j = 0; j < 3; j++) A[j] = {n}, A[j + 9] =", "  {n0};", "A[{k}] = {n};"],
    ["try {{", "  A[{i}] = {n};", "  if (i & 1) throw i;", "  A[{k}] = {n};", "}} catch {{", "  A[{k}] = {n};", "}} finally {{", "  A[{i}] = {n};", "}}"],
    ["switch ((i + {k}) % 7) {{", "  case 0: A[{i}] = {n}; break;", "  case 1: A[{i}] = {n};", "  case 2: A[{k}] = {n}; break;",
     "  case 3: case 4: F[{i} & 255] = {n}; break;", "  case 5: A[i & 511] = {n}; break;", "  default: A[{k}] = {n};", "}}"],
    ["const g{u} = [];", "for (let j = 0; j < 3; j++) g{u}.push(() => {{", "  A[j + {i}] = {n};", "  return j;", "}});", "for (const g of g{u}) s += g();"],
    ["A[{i}] += {n} - A[{i}];", "A[{k}] += {n} - A[{k}] + 0 * (", "  A[{i}] = {n});"],
    ["[A[{i}], A[i & 511]] = [{n}, {n}];", "({{ a: A[{k}] }} = {{ a: {n} }});", "for (A[{i}] of [{n}, {n}]) s++;"],
    ["D.setUint8({i}, {n});", "D.setUint8({k}, {n});", "Atomics.store(A, {i}, {n});"],
    ["class C{u} {{", "  constructor() {{ A[{i}] = {n}; }}", "  set z(v) {{ A[{k}] = {n}; }}", "  get z() {{", "    A[v{u}++ & 7] = {n}; return 1; }}", "}}",
     "var v{u} = 0, o{u} = new C{u}(); o{u}.z = o{u}.z;", "A[{k}] = {n};"],
    ["(async () => {{ A[{i}] = {n};", "  await null;", "  A[{k}] = {n};", "}})();"],
    ["const h{u} = (q, r = (A[{i}] = {n})) => {{", "  A[q & 511] = {n};", "}};", "h{u}(i); h{u}(i + 1, 2);"],
    ["l{u}: for (let j = 0; ; j++) {{", "  for (let m = 0; m < 2; m++) {{", "    A[j * 2 + m] = {n};", "    if (j > 2) break l{u};", "    if (i & m) continue l{u};",
     "    A[{k}] = {n};", "  }}", "}}"],
    ["{{ let c = i & 3; do {{", "  A[c & 511] = {n}; A[{k}] = {n};", "  F[c & 255] = {n};", "}} while (--c > 0); }}"],
    ["[3, 1, 2].sort((p, q) => {{", "  A[{i}] = {n};", "  return p - q; }});", "s += [1, 2].reduce((p, q) => (A[q] = {n}, p + q));"],
    ["if ((A[{i}] = {n}) && (A[{k}] = {n}) &&", "  (i & 1) == 0) A[{k}] = {n};", "else", "  A[{k}] = {n};"],
    ["for (const c of (function* () {{", "  yield (A[{i}] = {n});", "  A[{k}] = {n}; yield 1;", "  try {{ yield 2; }} finally {{ A[{i}] = {n}; }}", "}})()) if (c === 2) break;"],
    ["const t{u} = i & 1 ? A : F;", "t{u}[{k} & 255] = {n};", "t{u}[i & 255] = {n};"],
]


def shapes(seed, functions, base, other, locals_, bytes_, laps=0):
    """A file of functions of such shapes: with so many variables each, the first one of about so many bytes of bytecode, or
    each of a loop of so many laps, of which the last ones store where it is told."""
    dice = random.Random(seed)
    lines = ["'use strict'; const A = globalThis.__A, F = globalThis.__F, D = globalThis.__D;",
             f"const O = {f'require({other!r})' if other else 'null'};"]
    names, unique = [], 0
    for number in range(functions):
        names.append(f"f{number}")
        lines.append(f"function f{number}(i, x) {{ let s = 0;")
        if locals_:
            lines.append("  let " + ", ".join(f"w{j} = i + {j}" for j in range(locals_)) + ";")
        if laps:
            # no branch that is met late, which would leave optimised code
            lines.append(f"  const T = globalThis.__T; for (i = 0; i < {laps}; i++) {{")
            lines.append(f"  const [A, F, D] = T[i / {laps - 5} | 0];")
        size = 0
        while size < (bytes_ if number == 0 else 250 * dice.randint(1, 4)):
            unique += 1
            numbers = {"i": dice.randint(0, 400), "k": dice.randint(0, 400), "u": unique}
            shape = dice.choice(SHAPES)
            for line in shape:
                here = len(lines) + 1 + base
                lines.append("  " + line.format(n=here, n0=here - 1, **numbers))
            size += 60 * len(shape)
            if locals_:
                lines.append(f"  s += w{dice.randrange(locals_)};")
            if laps:
                continue
            if len(names) > 1 and dice.random() < 0.2:
                lines.append(f"  s += {dice.choice(names[1:-1] or ['Math.abs'])}(i + 1, x) | 0;")
            if other and dice.random() < 0.2:
                lines.append(f"  s += O.f{dice.randint(1, functions - 1)}(i, s & 7) | 0;")
        lines.append("  } return s; }" if laps else "  return s; }")
    lines.append("module.exports = { " + ", ".join(names) + " };")
    return "\n".join(lines) + "\n"


MAIN = """const { watch } = require('watcher');
const data = new ArrayBuffer(8192);
globalThis.__A = new Uint32Array(data, 0, 1024); globalThis.__F = new Float64Array(data, 4096);
const a = require('./a.js'), b = require('./b.js');
const all = [...Object.values(b), ...Object.values(a)];
const drive = (n) => { for (const f of all) for (let i = 0; i < n; i++) f(i, i & 3); };
for (let round = 0; round < ROUNDS; round++) drive(60);
watch(globalThis.__A, { name: 'A' }); watch(globalThis.__F, { name: 'F' });
drive(8);
"""

SHAPED = """const { watch } = require('watcher');
const data = new ArrayBuffer(8192);
globalThis.__A = new Uint32Array(data, 0, 1024); globalThis.__F = new Float64Array(data, 4096);
globalThis.__D = new DataView(new ArrayBuffer(512));
globalThis.__T = [[new Uint32Array(1024), new Float64Array(512), new DataView(new ArrayBuffer(512))],
                  [globalThis.__A, globalThis.__F, globalThis.__D]];
const all = [...Object.values(require('./b.js')), ...Object.values(require('./a.js'))];
const drive = (n) => { for (const f of all) for (let i = 0; i < n; i++) { f(i, i & 3); if (globalThis.gc && i % 5 == 0) gc(); } };
for (let round = 0; round < ROUNDS; round++) drive(60);
for (const name of ['A', 'F', 'D']) watch(globalThis['__' + name], { name });
drive(LAST);
"""
WORKERS = """const { Worker, isMainThread } = require('worker_threads');
if (isMainThread) for (let i = 0; i < 2; i++) new Worker(__filename); else run();
function run() { """ + SHAPED + """}
"""
STRESS = ("--expose-gc", "--stress-compaction")
BASELINE, MAGLEV = ("--always-sparkplug", "--no-opt"), ("--no-opt",)
# program, rounds, functions a file, variables of each, bytes of the first one's bytecode, laps of loops, node's flags
PROGRAMS = {
    "shapes": (SHAPED, 40, 12, 0, 300, 0, ()), "shapes, less hot": (SHAPED, 5, 12, 0, 300, 0, ()),
    "every tier": (SHAPED, 40, 12, 0, 300, 0, BASELINE[:1]), "baseline": (SHAPED, 1, 12, 0, 300, 0, BASELINE), "many variables": (SHAPED, 20, 4, 300, 300, 0, ()),
    "64 KiB": (SHAPED, 1, 3, 300, 140000, 0, BASELINE), "collections": (SHAPED, 2, 6, 0, 300, 0, STRESS),
    "baseline, collections": (SHAPED, 1, 6, 0, 300, 0, STRESS + BASELINE), "workers": (WORKERS, 20, 6, 0, 300, 0, ()),
    "long loops": (SHAPED, 0, 6, 0, 300, 3000, ()), "Maglev": (SHAPED, 40, 12, 0, 300, 0, MAGLEV),
    "Maglev, long loops": (SHAPED, 0, 6, 0, 300, 3000, MAGLEV), "Maglev, collections": (SHAPED, 6, 6, 0, 300, 0, STRESS + MAGLEV),
}


# the same stores to arrays behind proxies; the first functions are hot before anything is told, the others while it is
OBJECTS = """const { watch } = require('watcher');
globalThis.__A = watch(new Array(1024).fill(0), { name: 'A' }); globalThis.__F = watch(new Array(512).fill(0), { name: 'F' });
const a = require('./a.js'), b = require('./b.js');
const all = [...Object.values(b), ...Object.values(a)];
require('watcher').pause();
for (let round = 0; round < ROUNDS; round++) for (const f of all) for (let i = 0; i < 60; i++) f(i, i & 3);
require('watcher').resume();
for (let lap = 0; lap < 4; lap++) for (const f of all) for (let i = 0; i < 8; i++) f(i, i & 3);
"""


# code that V8 took from a cache, or made before it tells of any
CACHED = """const fs = require('fs'), vm = require('vm'), accepted = [];
function load(name) {
  const file = `${__dirname}/${name}`, module = {};
  const cachedData = fs.existsSync(file + '.cache') ? fs.readFileSync(file + '.cache') : undefined;
  const script = new vm.Script(`(function (module, require) { ${fs.readFileSync(file)}\\n})`, { filename: file, cachedData });
  accepted.push(script.cachedDataRejected === false);
  script.runInThisContext()(module, () => load('b.js'));
  process.on('exit', () => fs.writeFileSync(file + '.cache', script.createCachedData()));
  return module.exports;
}
process.on('exit', () => console.log(...accepted));
""" + MAIN.replace("require('./a.js')", "load('a.js')").replace("require('./b.js')", "load('b.js')")
LATE = MAIN.replace("const { watch } = require('watcher');\n", "").replace("watch(", "const { watch } = require('watch' + 'er'); watch(", 1) \
    .replace("8192", "1 << 20").replace("4096", "4096, 512")


class Lines(node_support.Case):
    def stored_at(self, event):
        """The file and line that the event's value stands for."""
        value = int(event["after"]["value"])
        if event["variable_name"] == "D":  # a byte of it
            name, line = pathlib.Path(event["file"] or "?").name, event["line"] or 0
            number = line + (SECOND_FILE if name == "b.js" else 0)
            right = number % 256 == value and "D.set" in (self.directory / name).read_text().split("\n")[line - 1]
            return (name, line) if right else ("D", value)
        return ("b.js", value - SECOND_FILE) if value > SECOND_FILE else ("a.js", value)

    def fuzz(self, node, position, files, flags=(), unsure_of_100=1):
        self.write(files)
        run = self.watched_node(node, [*flags, str(self.directory / "main.js")], {"WATCHER_POSITION": position})
        return self.judge(run, position, unsure_of_100)

    def judge(self, run, position, unsure_of_100):
        self.assertEqual(run.status, 0, run.stderr[-500:])
        right, unsure, wrong = 0, 0, []
        for event in run.events:
            if event["op"] not in ("write", "setitem"):
                continue
            expected = self.stored_at(event)
            if event.get("exact_line") is False or event["line"] is None:
                unsure += 1
            elif (pathlib.Path(event["file"] or "").name, event["line"]) == expected:
                right += 1
            else:
                wrong.append((expected, event["file"], event["line"], event["function"]))
        self.assertEqual(wrong[:3], [])
        self.assertGreater(right, 0)
        self.assertLessEqual(unsure, right * unsure_of_100 // 100 if position == "fast" else 0)
        return right, unsure

    def check(self, position, program=MAIN):
        for version, node in node_support.INTERPRETERS:
            total = [0, 0]
            for seed in range(10, 10 + 2 * SEEDS, 2):
                for rounds in (0, 40, 400) if FULL else (60,) if program is OBJECTS else (0, 60):
                    with self.subTest(node=version, seed=seed, rounds=rounds, position=position):
                        right, unsure = self.fuzz(node, position, self.files(seed, program, rounds), unsure_of_100=0 if program is OBJECTS else 1)
                        total = [total[0] + right, total[1] + unsure]
            print(f"node {version} {position}: {total[0]} right, {total[1]} marked as unsure", file=sys.stderr)

    def test_shapes(self):
        for version, node in node_support.INTERPRETERS:
            for name, (program, rounds, functions, variables, size, laps, flags) in PROGRAMS.items():
                if flags == BASELINE and version == "24":
                    flags += ("--no-maglev",)
                if name.startswith("Maglev") and version != "24":
                    continue
                for position in ("exact", "fast") if FULL or name in ("shapes", "baseline", "Maglev") else ("exact",):
                    total = [0, 0]
                    for seed in range(10, 10 + 2 * SEEDS, 2):
                        with self.subTest(node=version, program=name, seed=seed, position=position):
                            count = functions if FULL or size > 1000 else functions // 2
                            text = program.replace("ROUNDS", str(rounds)).replace("LAST", "1" if laps else "4")
                            files = {"main.js": text, "b.js": shapes(seed, count, SECOND_FILE, None, variables, size, laps),
                                     "a.js": shapes(seed + 1, count, 0, "./b.js", variables, size, laps)}
                            right, unsure = self.fuzz(node, position, files, flags)
                            total = [total[0] + right, total[1] + unsure]
                    print(f"node {version} {position}, {name}: {total[0]} right, {total[1]} marked as unsure", file=sys.stderr)

    def files(self, seed, program, rounds):
        return {"main.js": program.replace("ROUNDS", str(rounds)), "b.js": module(seed, FUNCTIONS, SECOND_FILE, None),
                "a.js": module(seed + 1, FUNCTIONS, 0, "./b.js")}

    def test_code_from_a_cache(self):
        for version, node in node_support.INTERPRETERS:
            with self.subTest(node=node):
                self.write(self.files(10, CACHED, 2))
                self.assertEqual(self.plain_node(node, [str(self.directory / "main.js")]).status, 0)
                accepted = 0  # V8 refuses what was made with other flags
                for position in ("fast", "exact", "exact"):
                    run = self.watched_node(node, [str(self.directory / "main.js")], {"WATCHER_POSITION": position})
                    right, unsure = self.judge(run, position, 0)
                    accepted += run.stdout.count(b"true")
                self.assertGreater(accepted, 0)

    def test_code_that_was_there_before(self):
        """A run that nobody asked to be watched. Code that was optimised by then has no lines."""
        for version, node in node_support.INTERPRETERS:
            with self.subTest(node=node):
                self.write(self.files(10, LATE, 2))
                flags = ["--no-opt"] + (["--no-maglev"] if version == "24" else [])
                run = self.execute([node, *flags, str(self.directory / "main.js")],
                                   {"LD_PRELOAD": node_support.PRELOAD, "MALLOC_MMAP_THRESHOLD_": "500000"})
                self.judge(node_support.Run(run, self.directory / "watcher_output"), "exact", 0)
                shutil.rmtree(self.directory / "watcher_output")

    def test_exact(self):
        self.check("exact")

    def test_objects(self):
        for position in ("exact", "fast"):
            self.check(position, OBJECTS)

    def test_fast_is_sure_of_99_in_100(self):
        self.check("fast")


if __name__ == "__main__":
    sys.argv = [word for word in sys.argv if word != "--full"]
    unittest.main()
