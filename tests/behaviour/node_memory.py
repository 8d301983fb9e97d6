"""Typed arrays and buffers of node programs, watched in place: values, lines, kernel writes, signals, threads, ends."""

import harness
import node_support

EXAMPLE = """function main() {
    const { watch } = require('watcher');
    const buffer = new Uint32Array(10);
    watch(buffer, { name: "data" });
    for (let i = 0; i < 10; i++) {
        buffer[i] = i * 100;  // Each write is tracked as an event
    }
    console.log("Buffer mutations tracked successfully");
    return buffer;
}
main();
"""

KINDS = """const { watch, unwatch } = require('watcher');
for (const K of [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array]) {
  const a = new K(5); console.log(watch(a, { name: K.name }) === a); a[2] = 7; a[3] += 1.5;
}
for (const K of [BigInt64Array, BigUint64Array]) { const a = watch(new K(3), { name: K.name }); a[1] = 12345678901234n; a[1]--; }
const ab = watch(new ArrayBuffer(16), { name: 'ab' }); new Uint16Array(ab)[3] = 513;
const dv = watch(new DataView(new ArrayBuffer(16)), { name: 'dv' }); dv.setInt8(9, -2);
const sab = watch(new SharedArrayBuffer(64), { name: 'sab' }); Atomics.add(new Int32Array(sab), 1, 5);
const pooled = watch(Buffer.from('hello'), { name: 'pooled' }); pooled.write('J');
const filled = watch(Buffer.alloc(10), { name: 'filled' }); filled.fill(1);
const wasm = watch(new WebAssembly.Memory({ initial: 1 }), { name: 'wasm' }); new Uint8Array(wasm.buffer)[100] = 3;
const big = watch(new Float64Array(100000), { name: 'big' }); big[99999] = 0.5;
const gone = watch(new Uint8Array(4), { name: 'gone' }); gone[0] = 1; unwatch(gone); gone[1] = 2;
"""

RANGES = '''const { watch } = require('watcher');
const describe = (f) => `${f.name} ${f.length} ${f}`;
const TypedArray = Object.getPrototypeOf(Uint8Array);
console.log(['fill', 'set', 'copyWithin', 'sort', 'reverse'].map((name) => describe(TypedArray.prototype[name])).join());
const a = watch(new Float64Array(64), { name: 'a' });
a.fill(3);
a.set([1, 2, 3], 4);
a.set(a.subarray(4, 7), 5);
a.copyWithin(-4, 4, 8);
a.sort();
a.reverse();
a.fill(NaN, 5, -50);
const b = watch(Buffer.alloc(64), { name: 'b' });
b.fill('xy', 1, 9);
console.log(b.copy(b, 10, 0, 8), b.swap16() === b, b.write('z', 20));
b.set(new Uint8ClampedArray([1, 2, 3]), 4);
const c = watch(new BigInt64Array(70000), { name: 'c' });
c.fill(5n);
console.log(a.join(), b.toString('latin1'), c[69999], a.fill(1) === a, a.sort((x, y) => y - x) === a, a.set([1, 2]));
for (const wrong of [() => a.set([1, 2], 63), () => a.set([1, 2], -1), () => a.fill(1n), () => c.fill(1), () => a.fill(Symbol()),
  () => a.sort(5), () => a.set(c), () => b.fill('x', 0, 99), () => b.fill('x', 0, 4, 'nonsense'), () => b.copy(a, 99), () => TypedArray.prototype.fill.call({}, 1)])
  try { wrong(); console.log('went well'); } catch (error) { console.log(error.stack); }
const order = [];
a.set({ length: 2, get 0() { order.push(0); return 8; }, get 1() { order.push(1); a[0] = 9; return 7; } });
a.fill({ valueOf() { order.push('value'); return 4; } }, { valueOf() { order.push('start'); return 62; } });
console.log(order.join(), a.join());
'''

KERNEL = """const { watch } = require('watcher');
const fs = require('fs'), zlib = require('zlib'), crypto = require('crypto'), net = require('net');
fs.writeFileSync('data.bin', Buffer.alloc(5000, 'x'));
const fd = fs.openSync('data.bin');
const b = watch(Buffer.alloc(100), { name: 'sync' });
console.log(fs.readSync(fd, b, 0, 10, 0));
const p = watch(Buffer.alloc(100), { name: 'cb' });
fs.read(fd, p, 0, 20, 0, (e, n) => {
  console.log(e, n);
  const r = watch(new Uint8Array(32), { name: 'rnd' }); crypto.randomFillSync(r); console.log(r.some((x) => x));
  const e2 = watch(new Uint8Array(32), { name: 'enc' }); console.log(new TextEncoder().encodeInto('hello', e2));
  const srv = net.createServer((s) => s.end('pong')).listen(0, () => {
    const c = net.connect({ port: srv.address().port, onread: { buffer: watch(Buffer.alloc(64), { name: 'sock' }), callback: (n, buf) => { console.log(n, buf.slice(0, n).toString()); } } });
    c.on('close', () => srv.close());
  });
  console.log(zlib.gunzipSync(zlib.gzipSync(Buffer.alloc(3000, 'y'))).length);
  fs.promises.open('data.bin').then(async (h) => { const q = watch(new Uint8Array(50), { name: 'fsp' }); console.log((await h.read(q, 0, 30, 0)).bytesRead); await h.close(); });
});
"""

TRAPS = """const { watch } = require('watcher');
 process.on('SIGUSR1', () => console.log('usr1'));
const a = watch(new Uint32Array(4), { name: 'a' });
const wasm = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 3, 1, 0, 1, 7, 8, 1, 4, 116, 114, 97, 112, 0, 0, 10, 11, 1, 9, 0, 65, 127, 65, 1, 54, 2, 0, 11]);
const i = new WebAssembly.Instance(new WebAssembly.Module(wasm));
let traps = 0; for (let k = 0; k < 1000; k++) { try { i.exports.trap(); } catch (e) { traps++; } a[k & 3] = k; }
console.log(traps);
const t = setInterval(() => {}, 1000); setTimeout(() => { process.kill(process.pid, 'SIGUSR1'); setTimeout(() => { a[0] = 1; clearInterval(t); }, 50); }, 20);
"""

HANDLERS = """const { watch } = require('watcher');
process.on('SIGSEGV', () => {}); process.on('SIGTRAP', () => {});
const a = watch(new Uint32Array(4), { name: 'a' });
a[1] = 1;
process.on('SIGBUS', () => {}); process.removeAllListeners('SIGSEGV'); process.on('SIGSEGV', () => {});
setTimeout(() => { for (let i = 0; i < 100; i++) a[2] = i; console.log('ok'); }, 20);
"""

COLLECTED = """const { watch } = require('watcher');
for (let i = 0; i < 200; i++) {
  const a = watch(new Uint32Array(20), { name: 'small' }); a[1] = i;
  const b = watch(new Uint8Array(5000), { name: 'page' }); b[1] = i;
  if (i % 50 === 0) gc();
}
gc(); console.log('done');
"""

WORKERS = """const { Worker, isMainThread, workerData } = require('worker_threads');
const { watch } = require('watcher');
if (isMainThread) {
  const sab = new SharedArrayBuffer(1024); const a = watch(new Int32Array(sab), { name: 'shared', trackThreads: true }); let left = 4;
  for (let i = 0; i < 4; i++) new Worker(__filename, { workerData: { sab, i } }).on('exit', () => { if (--left === 0) console.log(a[0]); });
} else {
  const a = new Int32Array(workerData.sab); watch(new Uint8Array(1), { trackThreads: true });
  for (let k = 0; k < 500; k++) { Atomics.add(a, 0, 1); a[10 + workerData.i] = k; }
}
"""

TERMS = """const { watch, pause, resume } = require('watcher');
const a = watch(new Int32Array(4), { name: 'a', when: 'new > 5' });
for (let i = 0; i < 10; i++) a[0] = i;
for (const wrong of [{ when: 'new >' }, { sample: 2 }, { nmae: 'x' }, { mutationDepth: 0 }, 7])
  try { watch(a, wrong); } catch (error) { console.error(error instanceof TypeError); }
const b = watch(new Int32Array(4), { name: 'b' }); pause(); b[0] = 1; b[1] = 2; resume(); b[2] = 3;
"""


def values(run, name):
    return [harness.value(event["after"]) for event in run.of(name) if event["op"] == "write"]


class Memory(node_support.Case):
    def test_the_guides_example(self):
        def check(run):
            events = [e for e in run.of("data") if e["op"] != "freed"]  # it may be collected before the process ends
            self.assertEqual([(e["op"], e["path"], harness.value(e["after"])) for e in events],
                             [("write", [i], i * 100) for i in range(10)])
            self.assertEqual({(e["function"], e["line"], e["scope"]) for e in events}, {("main", 6, "local")})
        self.on_all_nodes({"app.js": EXAMPLE}, check)

    def test_every_kind_of_memory(self):
        def check(run):
            for kind in ("Int8Array", "Uint8Array", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array"):
                self.assertEqual(values(run, kind), [7, 1])
            self.assertEqual(values(run, "Uint8ClampedArray"), [7, 2])
            for kind in ("Float32Array", "Float64Array"):
                self.assertEqual(values(run, kind), [7, 1.5])
            for kind in ("BigInt64Array", "BigUint64Array"):
                self.assertEqual(values(run, kind), [12345678901234, 12345678901233])
            found = {name: values(run, name) for name in ("ab", "dv", "sab", "pooled", "wasm", "big", "gone")}
            self.assertEqual(found, {"ab": [[1, 2]], "dv": [254], "sab": [[5, 0, 0, 0]], "pooled": [74], "wasm": [3],
                                     "big": [0.5], "gone": [1]})
            self.assertEqual([v for part in values(run, "filled") for v in (part if isinstance(part, list) else [part])], [1] * 10)
            self.assertTrue(all(event["line"] for event in run.events if event["op"] != "freed"), "an event without a line")
        self.on_all_nodes({"app.js": KINDS}, check)

    def test_bulk_builtins_of_every_kind(self):
        program = """const { watch } = require('watcher');
for (const name of Object.getOwnPropertyNames(globalThis).filter((name) => /^(Big)?(Int|Uint|Float).*Array$/.test(name))) {
  const big = name.startsWith('Big'), of = (...all) => globalThis[name].from(all.map(big ? BigInt : Number)), show = [];
  const a = watch(of(9, 8, 7, 6, 5), { name });
  for (const step of [() => a.set(big ? [4n, 2n, 1n] : [4, 2, 1], 1), () => a.set(of(3, 4), 3), () => a.fill(big ? 7n : 7, 1, 3), () => a.copyWithin(0, 2),
                      () => a.sort(), () => a.reverse(), () => a.set(a.subarray(0, 3), 2)]) { step(); show.push(a.join()); }
  console.log(name, show.join(' '));
}
"""
        def check(run):
            told = [(event["path"], harness.value(event["after"])) for event in run.of("Float16Array") if event["op"] == "write"]
            self.assertEqual(told[:3], [(["1:4"], [4, 2, 1]), (["3:5"], [3, 4]), (["1:3"], [7, 7])] if b"Float16Array" in run.stdout else [])
            self.assertTrue(run.of("Uint8ClampedArray"))
        self.on_all_nodes({"app.js": program}, check)

    def test_constructors_that_the_program_put_in_place_of_the_languages(self):
        program = "const { watch } = require('watcher');\nfor (const name of ['ArrayBuffer', 'Uint8Array', 'Map', 'Proxy', 'WeakRef']) {\n" \
                  "  const ours = new Proxy(globalThis[name], { construct: (target, words) => { const made = Reflect.construct(target, words); return name === 'Proxy' ? made : watch(made, { name }); } });\n" \
                  "  globalThis[name] = ours;\n}\nArrayBuffer.isView = Array.isArray = null;\n" \
                  "const view = new DataView(new ArrayBuffer(9));\nview.setInt8(1, 5);\nnew Uint8Array(4)[2] = 6;\nnew Map().set('a', 1);\nconsole.log('done');\n"
        def check(run):
            self.assertEqual([(e["variable_name"], e["op"]) for e in run.events if e["op"] != "freed"], [("ArrayBuffer", "write"), ("Uint8Array", "write"), ("Map", "setitem")])
        self.on_all_nodes({"app.js": program}, check)

    def test_memory_that_was_detached(self):
        program = "const { watch } = require('watcher');\nconst buffer = new ArrayBuffer(8), all = [buffer, new Uint8Array(buffer), new DataView(buffer)];\n" \
                  "structuredClone(buffer, { transfer: [buffer] });\nfor (const one of all) console.log(watch(one, { name: 'one' }) === one, one.buffer === buffer);\n" \
                  "console.log(watch({ all }, { name: 'held' }).all.length);\n"
        self.on_all_nodes({"app.js": program}, lambda run: self.assertEqual(run.of("one"), []))

    def test_builtins_that_fill_a_range_are_one_event(self):
        def check(run):
            told = [(event["variable_name"], event["line"], event["coalesced"], event["path"]) for event in run.events
                    if "coalesced" in event and event["line"] < 19]
            self.assertEqual(told, [("a", 6, 64, ["0:64"]), ("a", 7, 3, ["4:6"]), ("a", 8, 3, ["5:7"]), ("a", 9, 4, ["60:63"]), ("a", 10, 64, ["0:63"]),
                                    ("a", 11, 64, ["0:64"]), ("a", 12, 9, ["5:14"]), ("b", 14, 8, ["1:9"]), ("b", 15, 8, ["11:18"]), ("b", 15, 64, ["0:18"]),
                                    ("b", 16, 3, ["4:7"]), ("c", 18, 70000, ["0:70000"])])
            self.assertTrue(all(event["exact"] for event in run.events))

        self.on_all_nodes({"app.js": RANGES}, check)

    def test_kernel_and_native_writes(self):
        def check(run):
            self.assertEqual({e["op"] for e in run.of("sync")} - {"freed"}, {"kernel_write"})
            self.assertEqual(run.of("sync")[0]["line"], 6)
            for name in ("cb", "rnd", "enc", "sock", "fsp"):
                self.assertTrue(run.of(name), name)
        self.on_all_nodes({"app.js": KERNEL}, check, compare=False)

    def test_traps_of_webassembly(self):
        self.on_all_nodes({"app.js": TRAPS}, lambda run: self.assertEqual(len(run.of("a")), 1001))

    def test_the_programs_own_fault_handlers(self):
        self.on_all_nodes({"app.js": HANDLERS}, lambda run: self.assertEqual(len(run.of("a")), 101))

    def test_buffers_that_are_collected(self):
        self.settings = {"WATCHER_RECORD_INIT": "true"}

        def check(run):
            for name in ("small", "page"):
                self.assertEqual(values(run, name), list(range(200)))
                self.assertGreater(len([e for e in run.of(name) if e["op"] == "freed"]), 100)
        self.on_all_nodes({"app.js": COLLECTED}, check, ["--expose-gc"])

    def test_workers_on_one_buffer(self):
        def check(run):
            writes = [e for e in run.of("shared") if e["op"] == "write"]
            counted = [e for e in writes if e["path"] == [0] and e["deltas"]]
            self.assertEqual([harness.value(e["after"]) for e in counted], list(range(1, 2001)))
            for slot in range(10, 14):
                own = [e for e in writes if e["path"] == [slot]]
                self.assertEqual([harness.value(e["after"]) for e in own], list(range(500)))
                self.assertEqual(len({(e["thread_id"], e["thread_name"]) for e in own}), 1)
            self.assertEqual({e["line"] for e in writes}, {8})
        self.on_all_nodes({"app.js": WORKERS}, check)

    def test_conditions_pauses_and_mistakes(self):
        def check(run):
            self.assertEqual(values(run, "a"), [6, 7, 8, 9])
            self.assertEqual(run.stderr.count(b"true"), 5, run.stderr)
            self.assertEqual([e["op"] for e in run.of("b")], ["resumed", "write"])
        self.on_all_nodes({"app.js": TERMS}, check)


if __name__ == "__main__":
    harness.main()
