// From here on this thread's code, and its new array buffers, are ones that can be watched. Once a thread, as early as it
// is known that something will be: before the program where a run is watched or its main script names us, else at the
// first require('watcher').
'use strict';
const binding = process._linkedBinding('watcher');
const { isMainThread, threadId, workerData } = require('worker_threads');

let active = false;

/** Inlined, baseline and Maglev code tells no exact line. */
function keepLinesExact() {
  const v8 = require('v8');
  v8.setFlagsFromString('--no-sparkplug');
  if (Number(process.versions.v8.split('.')[0]) >= 11) v8.setFlagsFromString('--no-maglev');
  v8.setFlagsFromString('--no-turbo-inlining');
  binding.noInlining();
}

function activate() {
  if (active) return;
  active = true;
  if (!binding.start()) return;
  if (binding.option('position') !== 'fast') keepLinesExact();
  binding.listen();
  if (binding.option('track_threads') === 'true') trackThreads();
}

function trackThreads() {
  binding.threadName(isMainThread ? 'main' : require('worker_threads').threadName || `worker ${threadId}`);
}

module.exports = { activate, trackThreads };
