// Watched objects and how they hold each other. A part knows the objects that it was found in, nothing more: each change
// asks upwards, by identity, where the part is held now. So paths are those of the moment, and cycles, shared parts and
// parts that were taken out need no bookkeeping.
'use strict';

const { describe, isPlain, isObject, rawOf } = require('./describe.cjs');
const { getOwnPropertyDescriptor } = Object;
const { isMap, isSet } = require('util').types;
const binding = process._linkedBinding('watcher');

const kUnbound = Symbol('unbound');
const ops = binding.ops();
const state = { paused: false };

/// target → Part
const parts = new WeakMap();

class Part {
  constructor(target) {
    this.target = target;
    this.seen = target; // what the program holds: a proxy, or the object itself
    this.parents = new Map(); // Part → the key it was found under
    this.roots = new Map(); // variable → depth
    this.reach = 0; // steps below that still count, at most
  }
}

function partOf(target) {
  let part = parts.get(target);
  if (part === undefined) parts.set(target, (part = new Part(target)));
  return part;
}

/// The class's own: a watched Map has other ones.
const { entries, get, has } = Map.prototype;
const hasMember = Set.prototype.has;

function holdsAt(target, key, child) {
  if (isMap(target)) return has.call(target, key) && rawOf(get.call(target, key)) === child;
  if (isSet(target)) return hasMember.call(target, child);
  const own = getOwnPropertyDescriptor(target, key);
  return own !== undefined && rawOf(own.value) === child;
}

/// The key under which `parent` holds `child` now, else undefined.
function heldKey(parent, child, hint) {
  const { target } = parent;
  if (holdsAt(target, hint, child)) return hint;
  if (isMap(target)) {
    for (const [key, value] of entries.call(target)) if (rawOf(value) === child) return key;
  } else if (!isSet(target)) {
    for (const key of Reflect.ownKeys(target)) if (holdsAt(target, key, child)) return key;
  }
  return undefined;
}

function stepOf(container, key) {
  if (Array.isArray(key)) return key; // a range
  if (typeof key === 'symbol' || isObject(key)) return describe(key)[0];
  if (typeof key === 'number') return Number.isSafeInteger(key) ? key : `${key}`;
  return Array.isArray(container) && /^(0|[1-9]\d{0,14})$/.test(key) ? Number(key) : `${key}`;
}

/// [variable, path] of all that reach the part now, the nearest first.
function routesTo(part) {
  const routes = [];
  const told = new Set();
  const visited = new Set([part]);
  let row = [[part, []]];
  while (row.length > 0) {
    const next = [];
    for (const [at, path] of row) {
      for (const [variable, depth] of at.roots)
        if (!told.has(variable) && path.length < depth) {
          told.add(variable);
          routes.push([variable, path]);
        }
      for (const [parent, hint] of at.parents) {
        const key = heldKey(parent, at.target, hint);
        if (key === undefined) at.parents.delete(parent);
        else if (!visited.has(parent)) {
          visited.add(parent);
          next.push([parent, [stepOf(parent.target, key), ...path]]);
        }
      }
    }
    row = next;
  }
  return routes;
}

const shown = (value) => (isPlain(value) || value === kUnbound ? [value, ''] : describe(value));

/// One event for each variable that reaches the part. `key` undefined: the part itself. Not `exact`: told late, so there
/// may have been several changes, on other lines.
function tell(part, op, key, before, after, exact = true) {
  if (!state.paused) tellShown(part, op, key, shown(before), shown(after), exact);
}

function tellShown(part, op, key, before, after, exact = true) {
  if (state.paused) return;
  const routes = routesTo(part);
  if (routes.length === 0) return;
  const place = binding.callingPlace(exact);
  const last = key === undefined ? [] : [stepOf(part.target, key)];
  for (const [variable, path] of routes)
    binding.change(variable, place, op, [...path, ...last], before[0], before[1], after[0], after[1], exact);
}

/// The part that `parent` holds under `key`; its reach grows with what it is found in.
function join(parent, key, target) {
  const part = partOf(target);
  part.parents.set(parent, key);
  if (part.reach < parent.reach - 1) part.reach = parent.reach - 1;
  return part;
}

module.exports = { parts, partOf, join, tell, tellShown, shown, ops, state, kUnbound };
