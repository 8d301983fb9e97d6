// Which asynchronous call runs: node's async id, as the task of a thread's events.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { createHook, executionAsyncId } = require('async_hooks');
const binding = process._linkedBinding('watcher');

const outer = [];
let hook = null;
let current = 0;

function show(id) {
  current = id;
  binding.setTask(id);
}

/// Once a thread, from the first event on that is to tell it.
function follow() {
  if (hook !== null) return;
  hook = createHook({
    before(id) {
      outer.push(current);
      show(id);
    },
    after() {
      show(outer.pop() ?? 0);
    },
  }).enable();
  show(executionAsyncId());
}

module.exports = { follow };
