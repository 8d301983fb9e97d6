"""Line fuzz: generated functions store values that say which line stores them, hot enough for every tier of V8, across
two files, in loops, closures, generators and conditional expressions. In full (--full): 20,000 writes a version."""

import pathlib
import random
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


class Lines(node_support.Case):
    def fuzz(self, seed, rounds, node, position, program):
        self.write({"main.js": program.replace("ROUNDS", str(rounds)), "b.js": module(seed, FUNCTIONS, SECOND_FILE, None),
                    "a.js": module(seed + 1, FUNCTIONS, 0, "./b.js")})
        run = self.watched_node(node, [str(self.directory / "main.js")], {"WATCHER_POSITION": position})
        self.assertEqual(run.status, 0, run.stderr[-500:])
        right, unsure, wrong = 0, 0, []
        for event in run.events:
            if event["op"] not in ("write", "setitem"):
                continue
            value = int(event["after"]["value"])
            expected = ("b.js", value - SECOND_FILE) if value > SECOND_FILE else ("a.js", value)
            if event.get("exact_line") is False or event["line"] is None:
                unsure += 1
            elif (pathlib.Path(event["file"] or "").name, event["line"]) == expected:
                right += 1
            else:
                wrong.append((expected, event["file"], event["line"], event["function"]))
        return right, unsure, wrong

    def check(self, position, program=MAIN):
        for version, node in node_support.INTERPRETERS:
            total = [0, 0]
            for seed in range(SEEDS):
                for rounds in (0, 40, 400) if FULL else (60,) if program is OBJECTS else (0, 60):
                    with self.subTest(node=version, seed=seed, rounds=rounds, position=position):
                        right, unsure, wrong = self.fuzz(seed * 2 + 10, rounds, node, position, program)
                        self.assertEqual(wrong[:3], [])
                        self.assertGreater(right, 0)
                        if position == "exact" or program is OBJECTS:
                            self.assertEqual(unsure, 0)
                        self.assertLessEqual(unsure, right // 100)
                        total[0] += right
                        total[1] += unsure
            print(f"node {version} {position}: {total[0]} right, {total[1]} marked as unsure", file=sys.stderr)

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
