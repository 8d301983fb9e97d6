// What require('watcher') gives.
'use strict';
const binding = process._linkedBinding('watcher');
const { activate, trackThreads } = require('./activate.cjs');

activate();

function watch(value, options = {}) {
  if (options === null || typeof options !== 'object') throw new TypeError('watch(): options must be an object, as { name: "data" }');
  if (options.trackThreads) trackThreads();
  if (options.trackSQL) require('./load_hooks.cjs').watchStatements();
  return require('./objects.cjs').watch(value, { name: '', depthBytes: 0, when: '', sample: 1, maxPerSecond: 0, ...options });
}

module.exports = { watch, stats: () => binding.stats() };
