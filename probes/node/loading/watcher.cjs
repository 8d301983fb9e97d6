// What require('watcher') gives.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });
const binding = process._linkedBinding('watcher');
const { activate, trackThreads } = require('./activate.cjs');
const memory = require('./memory.cjs');
const objects = require('./objects.cjs');

activate();

const KNOWN = ['name', 'trackThreads', 'trackSQL', 'mutationDepth', 'when', 'sample', 'maxPerSecond', 'depth'];

function check(wrong, what) {
  if (wrong) throw new TypeError(`watch(): ${what}`);
}

/** The options as they count; the sentence of an error says what would be right. */
function checked(options) {
  check(options === null || typeof options !== 'object', 'options must be an object, such as { name: "data" }');
  for (const key of Object.keys(options))
    check(!KNOWN.includes(key), `there is no option '${key}'; there are ${KNOWN.join(', ')}`);
  const { name, mutationDepth = 'FULL', when, sample = 1, maxPerSecond = 0 } = options;
  check(name !== undefined && typeof name !== 'string', 'name must be a string');
  const full = mutationDepth === 'FULL';
  check(!full && !(Number.isInteger(mutationDepth) && mutationDepth > 0), 'mutationDepth must be "FULL" or a number of bytes');
  check(typeof sample !== 'number' || !(sample >= 0 && sample <= 1), 'sample must be a share from 0 to 1');
  check(!Number.isInteger(maxPerSecond) || maxPerSecond < 0, 'maxPerSecond must be a number of events, or 0 for no limit');
  check(when !== undefined && typeof when !== 'string', 'when must be a condition, such as "new > 100"');
  const fault = when === undefined ? undefined : binding.checkCondition(when);
  check(fault !== undefined, `when: ${fault}`);
  return { ...options, name: name ?? '', depthBytes: full ? 0 : mutationDepth, when: when ?? '', sample, maxPerSecond };
}

/** Watches a value and returns it. */
function watch(value, options = {}) {
  const terms = checked(options);
  if (terms.trackThreads) trackThreads();
  if (terms.trackSQL) require('./load_hooks.cjs').watchStatements();
  if (!memory.isMemory(value)) return objects.watch(value, terms);
  memory.watch(value, terms);
  return value;
}

/** Ends the watches on a value; false when there are none. */
function unwatch(value) {
  return memory.isMemory(value) ? memory.unwatch(value) : objects.unwatch(value);
}

function pause() {
  binding.pauseMemory();
  objects.pause();
}

function resume() {
  binding.resumeMemory();
  objects.resume();
}

function stats() {
  return binding.stats();
}

module.exports = { watch, unwatch, pause, resume, stats };
