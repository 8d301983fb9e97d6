"""Buffers of node programs that grow, shrink, move to a new owner or to another thread while they are watched."""

import harness
import node_support

GROWS = """const { watch, unwatch } = require('watcher');
const has = (kind, name) => typeof kind.prototype[name] === 'function';
if (has(ArrayBuffer, 'resize')) {
  const memory = new ArrayBuffer(100, { maxByteLength: 20000 });
  const all = watch(new Uint8Array(memory), { name: 'resized' });
  const part = watch(new Uint8Array(memory, 40, 4), { name: 'part' });
  all[5] = 1; part[1] = 2;
  memory.resize(10000); all[9000] = 3; part[1] = 4;
  memory.resize(20); all[19] = 5;
  memory.resize(12000); all[11000] = 6; part[1] = 7;
  console.log(all[9000], all[19], part.length);
  try { memory.resize(20001); } catch (error) { console.log(error.stack); }
  unwatch(all); unwatch(part); memory.resize(13000); all[12500] = 8;
}
if (has(SharedArrayBuffer, 'grow')) {
  const memory = new SharedArrayBuffer(100, { maxByteLength: 20000 });
  const all = watch(new Int32Array(memory), { name: 'shared' });
  all[5] = 1; memory.grow(10000); all[2400] = 2; Atomics.add(all, 2401, 3); console.log(all.length);
}
if (has(ArrayBuffer, 'transfer')) {
  let memory = watch(new ArrayBuffer(64), { name: 'moved' });
  new Uint8Array(memory)[1] = 1;
  memory = memory.transfer(); new Uint8Array(memory)[2] = 2;
  memory = memory.transfer(100000); new Uint8Array(memory)[3] = 3;
  memory = memory.transferToFixedLength(10); new Uint8Array(memory)[4] = 4;
  console.log(new Uint8Array(memory).join());
  for (let i = 0; i < 100; i++) new Uint8Array(new ArrayBuffer(64)).fill(i); // some of them where it was
}
for (const [name, limits] of [['wasm', { initial: 1, maximum: 200 }], ['free', { initial: 1 }]]) {
  const memory = watch(new WebAssembly.Memory(limits), { name });
  new Uint8Array(memory.buffer)[7] = 1;
  const old = memory.buffer; console.log(memory.grow(100), old.byteLength, memory.buffer.byteLength);
  new Uint8Array(memory.buffer)[8] = 2; new Uint8Array(memory.buffer)[6000000] = 3;
}
"""

# (module (memory (export "m") 1) (func (export "g") (drop (memory.grow (i32.const 1)))))
GROWN_BY_ITSELF = """const { watch } = require('watcher');
const code = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 3, 1, 0, 1, 7, 9, 2, 1, 109, 2, 0, 1, 103, 0, 0, 10, 9, 1, 7, 0, 65, 1, 64, 0, 26, 11]);
const { m, g } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports;
watch(m, { name: 'memory' });
for (let i = 0; i < 3; i++) { g(); new Uint8Array(m.buffer)[65536 * (i + 1) + i] = i + 1; }
console.log(m.buffer.byteLength);
"""

MOVES = """const { watch } = require('watcher');
const { Worker } = require('worker_threads');
const cloned = watch(new Uint8Array(5000), { name: 'cloned' }); cloned[0] = 1;
const copy = structuredClone(cloned, { transfer: [cloned.buffer] }); copy[1] = 2; console.log(cloned.length, copy[0], copy[1]);
const { port1, port2 } = new MessageChannel();
const posted = watch(Buffer.alloc(9000), { name: 'posted' }); posted[0] = 1;
port1.on('message', (got) => { got[1] = 2; console.log(posted.length, got[0], got[1]); port1.close(); next(); });
port2.postMessage(posted, [posted.buffer]);
function next() {
  const worker = new Worker("require('worker_threads').parentPort.on('message', function (got) { got[2] = 8; this.postMessage(got, [got.buffer]); })", { eval: true });
  const sent = watch(new Float64Array(1000), { name: 'sent' }); sent[0] = 1;
  worker.on('message', (got) => { got[3] = 9; console.log(sent.length, got.slice(0, 5).join()); worker.terminate(); });
  worker.postMessage(sent, [sent.buffer]);
}
"""


def stores(run, name):
    """The writes of one element each."""
    return [(event["path"][0], harness.value(event["after"]), event["line"]) for event in run.of(name) if event["op"] == "write" and "coalesced" not in event]


class Growth(node_support.Case):
    def test_a_watch_follows_what_grows_and_moves(self):
        def check(run):
            self.assertEqual([s[:2] for s in stores(run, "wasm")], [(7, 1), (8, 2), (6000000, 3)])
            self.assertEqual([s[:2] for s in stores(run, "free")], [(7, 1), (8, 2), (6000000, 3)])
            if run.of("resized"):
                for name, expected in {"resized": [(5, 1, 7), (41, 2, 7), (9000, 3, 8), (41, 4, 8), (19, 5, 9), (11000, 6, 10), (41, 7, 10)],
                                       "part": [(1, 2, 7), (1, 4, 8), (1, 7, 10)], "shared": [(5, 1, 18), (2400, 2, 18), (2401, 3, 18)]}.items():
                    seen = [store for store in stores(run, name) if store[1] not in (0, [0])]
                    self.assertEqual([s for s in seen if not str(s[0]).count(":")], expected, name)
            if run.of("moved"):
                self.assertEqual(stores(run, "moved"), [(1, 1, 22), (2, 2, 23), (3, 3, 24), (4, 4, 25)])
            self.assertEqual(len({(e["variable_name"], e["scope"], e["function"]) for e in run.events if e["op"] == "write"}),
                             len({e["variable_name"] for e in run.events}))

        self.on_all_nodes({"app.js": GROWS}, check)

    def test_memory_that_webassembly_grows_by_itself(self):
        self.on_all_nodes({"app.js": GROWN_BY_ITSELF}, lambda run: self.assertEqual(
            [s[:2] for s in stores(run, "memory")], [(65536 * i + i - 1, i) for i in (1, 2, 3)]))

    def test_transferred_buffers_are_followed(self):
        def check(run):
            self.assertEqual([s[:2] for s in stores(run, "cloned")], [(0, 1), (1, 2)])
            self.assertEqual([s[:2] for s in stores(run, "posted")], [(0, 1), (1, 2)])
            self.assertEqual([s[:2] for s in stores(run, "sent")], [(0, 1), (2, 8), (3, 9)])
            threads = [event["thread_id"] for event in run.of("sent") if event["op"] == "write"]
            self.assertTrue(threads[0] == threads[2] != threads[1], threads)

        self.on_all_nodes({"app.js": MOVES}, check)


if __name__ == "__main__":
    harness.main()
