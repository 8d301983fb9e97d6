"""Native code that writes into watched memory of node programs: an addon, from JavaScript and from a thread of its own; node's own."""

import os
import pathlib
import subprocess
import unittest

import harness
import node_support

ADDON = r"""#include <node/node_api.h>
#include <pthread.h>
#include <string.h>
static double* shared;
static size_t words_of(napi_env env, napi_callback_info info, void** data) {
  size_t count = 1, length = 0;
  napi_value given;
  napi_get_cb_info(env, info, &count, &given, NULL, NULL);
  napi_get_typedarray_info(env, given, NULL, &length, data, NULL, NULL);
  return length;
}
__attribute__((noinline)) static void addon_store(double* words, double value) { *(volatile double*)words = value; }
static napi_value store(napi_env env, napi_callback_info info) {
  void* data = NULL;
  const size_t length = words_of(env, info, &data);
  for (size_t i = 0; i < length; ++i) addon_store((double*)data + i, i + 0.5);
  return NULL;
}
static napi_value copy(napi_env env, napi_callback_info info) {
  static const double from[4] = {9, 8, 7, 6};
  void* data = NULL;
  words_of(env, info, &data);
  memcpy(data, from, sizeof from);
  return NULL;
}
static void* run(void* unused) {
  for (int i = 0; i < 1000; ++i) addon_store(shared, i + 1);
  return unused;
}
static napi_value in_thread(napi_env env, napi_callback_info info) {
  pthread_t thread;
  words_of(env, info, (void**)&shared);
  pthread_create(&thread, NULL, run, NULL);
  pthread_join(thread, NULL);
  return NULL;
}
NAPI_MODULE_INIT() {
  const struct { const char* name; napi_callback call; } all[] = {{"store", store}, {"copy", copy}, {"inThread", in_thread}};
  for (int i = 0; i < 3; ++i) {
    napi_value function;
    napi_create_function(env, all[i].name, NAPI_AUTO_LENGTH, all[i].call, NULL, &function);
    napi_set_named_property(env, exports, all[i].name, function);
  }
  return exports;
}
"""

CALLS = """const { watch } = require('watcher');
const addon = require('./addon.node');
const words = watch(new Float64Array(4), { name: 'words' });
function ask() {
  addon.store(words);
}
ask();
addon.copy(words);
const own = watch(new Float64Array(4), { name: 'own' });
addon.inThread(own);
console.log(words.join(), own.join());
"""

# what node itself writes: synchronously, on threads of its pool, from a socket
OWN = """const { watch } = require('watcher');
const fs = require('fs'), zlib = require('zlib'), crypto = require('crypto'), net = require('net');
fs.writeFileSync(__filename + '.data', Buffer.alloc(5000, 'x'));
const fd = fs.openSync(__filename + '.data');
const buffer = (name, length = 64) => watch(Buffer.alloc(length), { name });
const sync = buffer('readSync'); console.log(fs.readSync(fd, sync, 0, 10, 0));
const parts = [buffer('readvSync'), buffer('second')]; console.log(fs.readvSync(fd, parts, 0));
const random = buffer('randomFillSync'); crypto.randomFillSync(random);
const hash = buffer('hash', 32); crypto.createHash('sha256').update('a').digest().copy(hash);
fs.read(fd, buffer('read'), 0, 20, 0, (error, count, read) => { console.log(error, count, read.toString('latin1', 0, 20));
  crypto.randomFill(buffer('randomFill'), (error) => { console.log(error);
    const server = net.createServer((socket) => socket.end('pong')).listen(0, '127.0.0.1', () => {
      const kept = buffer('onread');
      net.connect({ port: server.address().port, host: '127.0.0.1', onread: { buffer: kept, callback: (count) => console.log(count, kept.toString('latin1', 0, count)) } })
        .on('close', () => { server.close(); console.log(inflated()); });
    });
  });
});
function inflated() {
  const { Inflate } = zlib; const inflate = new Inflate({ chunkSize: 4096 });
  watch(inflate._outBuffer, { name: 'zlib' });
  inflate.on('data', () => {}); inflate.end(zlib.deflateSync(Buffer.alloc(3000, 'y')));
  return inflate._outBuffer.length;
}
"""


# how many rings the process has once it has read a file asynchronously
CALLS_BY_RING = """const { watch } = require('watcher');
const fs = require('fs');
const data = watch(Buffer.alloc(64), { name: 'data' });
fs.read(fs.openSync(__filename), data, 0, 20, 0, (error, count) => {
  if (error || count !== 20) throw error;
  let rings = 0;
  for (const name of fs.readdirSync('/proc/self/fd'))
    try { if (fs.readlinkSync(`/proc/self/fd/${name}`).includes('io_uring')) rings++; } catch { }
  console.log(rings);
});
"""


def compiled(directory):
    source = directory / "addon.c"
    source.write_text(ADDON)
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-g", "-o", directory / "addon.node", source, "-lpthread"], check=True)


class Native(node_support.Case):
    def test_an_addon(self):
        compiled(self.directory)

        def check(run):
            writes = [event for event in run.of("words") if event["op"] == "write"]
            self.assertEqual([(event["path"], harness.value(event["after"]), event["line"], event["function"]) for event in writes[:4]],
                             [([i], i + 0.5, 5, "ask") for i in range(4)])
            self.assertEqual({event["line"] for event in writes[4:]}, {8})
            for event in writes[:4]:
                self.assertEqual((event["native"]["symbol"], pathlib.Path(event["native"]["module"]).name), ("addon_store", "addon.node"), event["native"])
            own = [event for event in run.of("own") if event["op"] == "write"]
            self.assertEqual([harness.value(event["after"]) for event in own], list(range(1, 1001)))
            self.assertEqual({(event["native"]["symbol"], event["function"]) for event in own}, {("addon_store", "addon_store")})
            self.assertFalse({event["thread_id"] for event in own} & {event["thread_id"] for event in writes})

        self.on_all_nodes({"app.js": CALLS}, check)

    def test_what_node_itself_writes(self):
        self.on_all_nodes({"app.js": OWN}, self.all_told)

    def test_the_same_where_io_uring_is_asked_for(self):
        self.settings = {"UV_USE_IO_URING": "1"}
        self.on_all_nodes({"app.js": OWN}, self.all_told)

    def test_io_uring_is_left_to_the_engine_that_stands_it(self):
        program = CALLS_BY_RING
        for version, node in node_support.INTERPRETERS:
            for engine in ("inline", "uffd") if os.getuid() == 0 else ("inline",):
                with self.subTest(node=node, engine=engine):
                    self.write({"app.js": program})
                    rings = [int(run.stdout) for run in (
                        self.plain_node(node, [str(self.directory / "app.js")], {"UV_USE_IO_URING": "1"}),
                        self.watched_node(node, [str(self.directory / "app.js")], {"UV_USE_IO_URING": "1", "WATCHER_ENGINE": engine, "WATCHER_LOG_LEVEL": "ERROR"}))]
                    self.assertEqual(rings[1] < rings[0], engine == "inline" and rings[0] > 0, rings)

    def all_told(self, run):
        self.assertEqual(run.stderr, b"")
        for name, line in {"readSync": 6, "readvSync": 7, "second": 7, "randomFillSync": 8, "hash": 9, "read": None, "randomFill": None, "onread": None, "zlib": None}.items():
            events = [event for event in run.of(name) if event["op"] in ("write", "kernel_write")]
            self.assertTrue(events, name)
            if line is not None:
                self.assertEqual({event["line"] for event in events}, {line}, name)
        for name in ("readSync", "readvSync", "second", "read", "onread"):
            self.assertEqual([event["op"] for event in run.of(name)].count("kernel_write"), 1, name)


if __name__ == "__main__":
    harness.main()
