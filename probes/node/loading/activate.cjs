// From here on this thread's code, and its new array buffers, are ones that can be watched. Once a thread, as early as it
// is known that something will be: before the program where a run is watched or its main script names us, else at the
// first require('watcher').
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });
const binding = process._linkedBinding('watcher');
if (binding.start === undefined) binding.complete();
const { isMainThread, threadId, threadName } = require('worker_threads');

let active = false;

/** Where the lines of Sparkplug's and Maglev's code are is known for some versions of V8 (heap_words.h). Maglev would make
    a loop's first lap apart, and give all others the position of the loop's end. Optimised code tells its lines, and which
    function is inlined by tables of V8's own (own_positions.h); without inlining it needs nobody's tables. */
function keepLines(position) {
  const v8 = require('v8');
  const { baseline, maglev } = binding.knownTiers();
  if (!baseline) v8.setFlagsFromString('--no-sparkplug');
  if (maglev) v8.setFlagsFromString('--no-maglev-loop-peeling');
  else if (Number.parseInt(process.versions.v8, 10) >= 11) v8.setFlagsFromString('--no-maglev');
  if (position === 'fast') return;
  v8.setFlagsFromString('--no-turbo-inlining');
  binding.noInlining();
}

/** Array buffers of an unusual size, made in all ways that allocate differently. */
function learnAllocations() {
  const bytes = 7919;
  if (!binding.learning(bytes)) {
    binding.log(2, 'array buffers cannot get pages of their own here: only large ones can be watched');
    return;
  }
  new ArrayBuffer(bytes);
  if (typeof SharedArrayBuffer === 'function') new SharedArrayBuffer(bytes);
  Buffer.allocUnsafeSlow(bytes);
  structuredClone(new ArrayBuffer(bytes));
  new TextEncoder().encode('x'.repeat(bytes));
  binding.learnt();
}

/** Small Buffers lie in a pool that was there before us: on to the next one. */
function renewPool() {
  for (let i = 0; i < 4 && !binding.isOurs(new Uint8Array(Buffer.allocUnsafe(1).buffer)); i++)
    Buffer.allocUnsafe((Buffer.poolSize >>> 1) - 1);
}

function trackThreads() {
  require('./tasks.cjs').follow();
  binding.threadName(threadName || (isMainThread ? 'main' : `worker ${threadId}`));
}

function activate() {
  if (active) return;
  active = true;
  if (!binding.start()) return;
  binding.active = true;
  if (binding.traced || Symbol.for('opentelemetry.js.api.1') in globalThis) require('./spans.cjs').follow();
  keepLines(binding.option('position'));
  if (!binding.listen()) binding.log(1, 'this node does not tell where code stands: events have no function and line');
  learnAllocations();
  renewPool();
  if (binding.option('track_threads') === 'true') trackThreads();
}

module.exports = { activate, trackThreads };
