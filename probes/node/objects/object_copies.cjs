// What a program copies or sends: structuredClone, messages and v8.serialize take no proxies, so they get what ours stand
// for. A value that has none in it stays the object that it is.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { Array, Map, Set } = globalThis; // a program can put others in their place
const { isObject, rawOf, targets } = require('./describe.cjs');
const { kindOf } = require('./object_kinds.cjs');
const { isMap, isSet, isProxy, isAnyArrayBuffer } = require('util').types;
const { getOwnPropertyDescriptor, defineProperty, keys } = Object;
const { isArray } = Array;
const { isView } = ArrayBuffer;
const binding = process._linkedBinding('watcher');
const { entries } = Map.prototype;
const { values } = Set.prototype;

function* contents(target) {
  if (isMap(target)) for (const pair of entries.call(target)) yield* pair;
  else if (isSet(target)) yield* values.call(target);
  else if (!isView(target) && !isAnyArrayBuffer(target) && !isProxy(target))
    for (const key of keys(target)) yield getOwnPropertyDescriptor(target, key).value;
}

function holdsOurs(raw) {
  const seen = new Set([raw]);
  for (const target of seen) // it grows
    for (const value of contents(target)) {
      if (typeof value !== 'object' || value === null) continue;
      if (targets.has(value)) return true;
      seen.add(value);
    }
  return false;
}

function copied(value, made) {
  if (!isObject(value)) return value;
  const raw = rawOf(value);
  const kind = kindOf(raw);
  if (kind === null || kind === 'date') return raw;
  if (made.has(raw)) return made.get(raw);
  const copy = kind === 'map' ? new Map() : kind === 'set' ? new Set() : isArray(raw) ? new Array(raw.length) : {};
  made.set(raw, copy);
  const of = (part) => copied(part, made);
  if (kind === 'map') for (const [key, part] of entries.call(raw)) copy.set(of(key), of(part));
  else if (kind === 'set') for (const part of values.call(raw)) copy.add(of(part));
  else
    for (const key of keys(raw))
      defineProperty(copy, key, { value: of(raw[key]), writable: true, enumerable: true, configurable: true });
  return copy;
}

function bare(value) {
  const raw = isObject(value) ? rawOf(value) : value;
  return isObject(raw) && holdsOurs(raw) ? copied(raw, new Map()) : raw;
}

let needed = false;

function before(...words) {
  if (!needed) return undefined;
  try {
    const value = bare(words[0]);
    return value === words[0] ? undefined : [value, ...words.slice(1)];
  } catch {
    return undefined; // a getter's error is the original's to throw
  }
}

function leadMethod(prototype, name) {
  for (let owner = prototype; owner; owner = Object.getPrototypeOf(owner))
    if (Object.hasOwn(owner, name)) return void binding.lead(owner, name, before);
}

function lead() {
  const own = typeof structuredClone === 'function' ? getOwnPropertyDescriptor(globalThis, 'structuredClone') : undefined;
  if (own?.configurable && typeof own.value === 'function') {
    const value = binding.around(own.value, before);
    for (const key of ['name', 'length']) defineProperty(value, key, { value: own.value[key], configurable: true });
    defineProperty(globalThis, 'structuredClone', { ...own, value });
  }
  leadMethod(MessagePort.prototype, 'postMessage');
  if (typeof BroadcastChannel === 'function') leadMethod(BroadcastChannel.prototype, 'postMessage');
  binding.lead(require('v8'), 'serialize', before);
}

// by then the program may have taken hold of a function in the statement that watches for the first time
lead();

module.exports = { areNeeded: () => void (needed = true) };
