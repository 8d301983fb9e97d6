"""The guide's three JavaScript examples, as they are printed there, started by the guide's commands, on every node found."""

import collections
import json
import os
import shutil

import harness
from harness import BUILD, value
from node_support import INTERPRETERS

BUFFER = """\
// app.js - YOUR APPLICATION CODE
function main() {
    // Import watch from Watcher
    const { watch } = require('watcher');
    
    // Create a buffer/TypedArray
    const buffer = new Uint32Array(10);
    
    // Watch it
    watch(buffer, { name: "data" });
    
    // Your application logic mutates the buffer
    for (let i = 0; i < 10; i++) {
        buffer[i] = i * 100;  // Each write is tracked as an event
    }
    
    console.log("Buffer mutations tracked successfully");
    return buffer;
}

module.exports = { main };
"""

PIPELINE = """\
// data_pipeline.js - YOUR APPLICATION CODE
function main() {
    const { watch } = require('watcher');
    
    // Track processing state
    const state = watch(new Uint32Array([
        0,    // [0] = items_processed
        0,    // [1] = errors
        0,    // [2] = total_bytes
    ]), { name: "pipeline_state" });
    
    // Simulate data processing
    const items = [
        { id: 1, size: 100 },
        { id: 2, size: 200 },
        { id: 3, size: 150 },
    ];
    
    for (const item of items) {
        try {
            // Process item
            state[0]++;  // items_processed++  → triggers event
            state[2] += item.size;  // total_bytes += size  → triggers event
        } catch (e) {
            state[1]++;  // errors++  → triggers event
        }
    }
    
    return {
        processed: state[0],
        errors: state[1],
        bytes: state[2]
    };
}

module.exports = { main };
"""

SERVER = """\
// server.js - YOUR APPLICATION CODE (condensed for demo)
function main() {
    const { watch } = require('watcher');
    
    // Track server metrics
    const metrics = watch(new Uint32Array([
        0,      // [0] = requests_received
        0,      // [1] = requests_completed
        0,      // [2] = errors
        0,      // [3] = total_bytes_sent
    ]), { name: "server_metrics" });
    
    // Simulate request handling
    for (let i = 0; i < 5; i++) {
        // Incoming request
        metrics[0]++;  // requests_received++  → triggers event
        
        // Process request (simulate work)
        const responseSize = Math.random() * 5000;
        
        // Send response
        metrics[1]++;  // requests_completed++  → triggers event
        metrics[3] += responseSize;  // total_bytes_sent += size  → triggers event
        
        // Simulate error on request 3
        if (i === 2) {
            metrics[2]++;  // errors++  → triggers event
        }
    }
    
    return {
        received: metrics[0],
        completed: metrics[1],
        errors: metrics[2],
        bytes_sent: metrics[3]
    };
}

module.exports = { main };
"""

MODULE = """\
import { watch } from 'watcher';
import { size } from './size.mjs';
export function main() {
  const data = watch(new Uint32Array(size), { name: 'data' });
  for (let i = 0; i < size; i++)
    data[i] = i * 100;
  return data;
}
"""


class Guide(harness.Case):
    def on_each(self, script, check, options=""):
        """`check(stdout, events)` after the guide's command, and watcher-exec with the same options, with each node being the `node` of PATH."""
        for version, node in INTERPRETERS:
            shutil.rmtree(self.directory / "bin", True)
            (self.directory / "bin").mkdir()
            (self.directory / "bin" / "node").symlink_to(os.path.realpath(node))
            path = {"PATH": f"{self.directory}/bin:{os.environ['PATH']}"}
            shim = {"LD_PRELOAD": str(BUILD / "preload" / "libwatcher_preload.so")}
            for program, environment in ((f"{BUILD}/tools/watcher-exec", path), ("python3 -m watcher.cli.main", {**path, **shim})):
                with self.subTest(node=node, program=program):
                    shutil.rmtree(self.directory / "events", True)
                    done = self.execute(["sh", "-c", f"{program} --user-script ./{script} --output ./events {options}"], environment)
                    self.assertEqual((done.returncode, done.stderr), (0, b""))
                    lines = (self.directory / "events" / "events.jsonl").read_text().splitlines()
                    check(done.stdout, [json.loads(line) for line in lines])

    def check_writes(self, events, name, script, expected):
        """`expected`: (line, index, before, after) of each."""
        self.assertEqual([(e["line"], e["path"][0], value(e["before"]), value(e["after"])) for e in events], expected)
        self.assertEqual({(e["variable_name"], e["function"], os.path.basename(e["file"]), e["scope"], e["op"]) for e in events},
                         {(name, "main", script, "local", "write")})

    @staticmethod
    def written(events):
        """Without the end of an array that main() does not return: it may be collected before the process ends."""
        return [event for event in events if event["op"] != "freed"]

    def test_track_a_buffer(self):
        def check(stdout, events):
            self.assertEqual(stdout, b"Buffer mutations tracked successfully\n")
            self.check_writes(events, "data", "app.js", [(14, i, 0, i * 100) for i in range(10)])
            self.assertTrue(all(event["deltas"] or not value(event["after"]) for event in events))
        self.write({"app.js": BUFFER})
        self.on_each("app.js", check)

    def test_track_real_time_data_processing(self):
        expected = [(22, 0, 0, 1), (23, 2, 0, 100), (22, 0, 1, 2), (23, 2, 100, 300), (22, 0, 2, 3), (23, 2, 300, 450)]

        def check(stdout, events):
            self.assertEqual(stdout, b"")
            self.check_writes(self.written(events), "pipeline_state", "data_pipeline.js", expected)
            self.assertEqual({event["thread_name"] for event in self.written(events)}, {"main"})
        self.write({"data_pipeline.js": PIPELINE})
        self.on_each("data_pipeline.js", check, "--track-threads")

    def test_track_web_server_state(self):
        def check(stdout, events):
            self.assertEqual(stdout, b"")
            events = self.written(events)
            counted = collections.Counter((event["line"], event["path"][0]) for event in events)
            self.assertEqual(counted, {(16, 0): 5, (22, 1): 5, (23, 3): 5, (27, 2): 1})
            for index, last in ((0, 5), (1, 5), (2, 1)):
                self.assertEqual([value(e["after"]) for e in events if e["path"] == [index]], list(range(1, last + 1)))
            sent = [(value(e["before"]), value(e["after"])) for e in events if e["path"] == [3]]
            self.assertEqual([before for before, _ in sent], [0] + [after for _, after in sent[:-1]])
        self.write({"server.js": SERVER})
        self.on_each("server.js", check, "--mutation-depth FULL")

    def test_a_main_that_a_module_exports(self):
        for name, more in (("app.mjs", {}), ("app.js", {"package.json": '{"type": "module"}'})):
            def check(stdout, events, name=name):
                self.check_writes(events, "data", name, [(6, i, 0, i * 100) for i in range(10)])
            self.write({name: MODULE, "size.mjs": "export const size = 10;\n", **more})
            self.on_each(name, check)


if __name__ == "__main__":
    harness.main()
