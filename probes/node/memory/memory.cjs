// Values that are memory: typed arrays, buffers, views, and the memory of WebAssembly. They are watched in place.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { Map, Uint8Array, WebAssembly } = globalThis; // a program can put others in their place
const { isView } = ArrayBuffer;
const binding = process._linkedBinding('watcher');
const { types } = require('util');
const growth = require('./growth.cjs');
const rangeCalls = require('./range_calls.cjs');

// By the name of the kind: PEP 3118's letter of one element, as the events' reader has it.
const FORMATS = {
  Int8Array: 'b', Uint8Array: 'B', Uint8ClampedArray: 'B', Int16Array: 'h', Uint16Array: 'H', Int32Array: 'i',
  Uint32Array: 'I', BigInt64Array: 'q', BigUint64Array: 'Q', Float16Array: 'e', Float32Array: 'f', Float64Array: 'd',
};
const kindOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag).get;

/** What is watched of each value of this thread, by name. */
const regions = new WeakMap();

function isWasmMemory(value) {
  return typeof WebAssembly === 'object' && value instanceof WebAssembly.Memory;
}

function isMemory(value) {
  return isView(value) || types.isAnyArrayBuffer(value) || isWasmMemory(value);
}

/** The bytes of the value, and what one element of it is. */
function described(value) {
  if (!isView(value)) {
    const buffer = isWasmMemory(value) ? value.buffer : value;
    return { bytes: new Uint8Array(buffer), format: 'B', itemBytes: 1 };
  }
  binding.ownPages(true); // a small typed array has no buffer until it is asked for
  const { buffer, byteOffset, byteLength } = value;
  binding.ownPages(false);
  const kind = kindOf.call(value);
  const format = FORMATS[kind] ?? 'B';
  return { bytes: new Uint8Array(buffer, byteOffset, byteLength), format, itemBytes: value.BYTES_PER_ELEMENT ?? 1 };
}

/** No bytes: it has none, or is detached, or a view out of bounds. */
function describe(value) {
  try {
    return described(value);
  } catch {
    return { bytes: new Uint8Array(0), format: 'B', itemBytes: 1 };
  }
}

/** Can its pages be watched? */
function isReachable(bytes, called) {
  if (binding.isOurs(bytes)) return true;
  binding.log(2, `${called} is not watched: it was made before Watcher was loaded; run the program under watcher-exec, or ` +
    "call require('watcher') before");
  return false;
}

/** The region is the value's from now on. */
function follow(value, bytes, itemBytes, region) {
  rangeCalls.install();
  const watched = { region, itemBytes, offset: bytes.byteOffset, length: bytes.length, variable: binding.memoryVariable(region) };
  growth.follow(value, bytes.buffer, watched);
  return watched;
}

function watch(value, terms) {
  const known = regions.get(value) ?? new Map();
  if (known.has(terms.name)) return;
  const { bytes, format, itemBytes } = describe(value);
  if (bytes.length === 0) return;
  const called = terms.name || 'a buffer';
  if (!isReachable(bytes, called)) return;
  const region = binding.watchMemory(bytes, terms.name, format, itemBytes, terms.depthBytes, terms.when, terms.sample, terms.maxPerSecond);
  if (region <= 0) {
    binding.log(2, `${called} is not watched: no engine takes its memory (error ${-region})`);
    return;
  }
  known.set(terms.name, follow(value, bytes, itemBytes, region));
  regions.set(value, known);
}

/** What is watched of values inside watched objects, by variable and path. */
const partRegions = new WeakMap();
let refused = false;

function regionsOfPart(value, told, known) {
  const wanted = new Map();
  const { bytes, format, itemBytes } = describe(value);
  if (bytes.length === 0 || (refused && !binding.isOurs(bytes))) return wanted;
  refused = !isReachable(bytes, 'a buffer inside a watched object');
  if (refused) return wanted;
  for (let i = 0; i < told.length; i += 2) {
    const variable = binding.partVariable(told[i], told[i + 1], format, itemBytes);
    const region = known.has(variable) ? 0 : binding.rewatchMemory(bytes, itemBytes, variable);
    if (region > 0) wanted.set(variable, follow(value, bytes, itemBytes, region));
    else if (known.has(variable)) wanted.set(variable, known.get(variable));
  }
  return wanted;
}

/** `told`: by which variables the value is reached, and by which paths; [] ends what was begun for others. */
function watchPart(value, told) {
  const known = partRegions.get(value) ?? new Map();
  const wanted = told.length > 0 ? regionsOfPart(value, told, known) : new Map();
  for (const [variable, watched] of known) {
    if (wanted.has(variable)) continue;
    binding.unwatchMemory(watched.region);
    watched.variable = undefined;
  }
  partRegions.set(value, wanted);
}

function unwatch(value) {
  const known = regions.get(value);
  regions.delete(value);
  let ended = false;
  for (const watched of known?.values() ?? []) {
    ended = binding.unwatchMemory(watched.region) || ended;
    watched.variable = undefined;
  }
  return ended;
}

module.exports = { isMemory, watch, watchPart, unwatch };
