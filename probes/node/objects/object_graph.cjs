// Watched objects and how they hold each other. A part knows the objects that it was found in, nothing more: each change
// asks upwards, by identity, where the part is held now. So paths are those of the moment, and cycles, shared parts and
// parts that were taken out need no bookkeeping.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { Map, Set } = globalThis; // a program can put others in their place
const { isArray } = Array;
const { describe, isPlain, isObject, rawOf } = require('./describe.cjs');
const { getOwnPropertyDescriptor } = Object;
const { isMap, isSet } = require('util').types;
const binding = process._linkedBinding('watcher');

const kUnbound = Symbol('unbound');
const ops = binding.ops();
const { change, nearPlace, callingPlace } = binding;
const state = { paused: false, changed: undefined }; // `changed`: called after changes that may move parts

/// target → Part
const parts = new WeakMap();

class Part {
  constructor(target) {
    this.target = target;
    this.seen = target; // what the program holds: a proxy, or the object itself
    this.equipped = false; // so that its changes are seen
    this.parents = new Map(); // Part → the key it was found under
    this.roots = new Map(); // variable → depth
    this.routes = null; // how it is reached, when that was asked for
    this.reach = 0; // steps below that still count, at most
    this.behind = undefined; // while a method runs that changes it out of our sight (object_subclasses.cjs)
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

/// A set that the program made of proxies has these: which of the two it has, else the value itself.
function memberOf(set, value) {
  const raw = rawOf(value);
  const seen = isObject(raw) ? parts.get(raw)?.seen : undefined;
  return seen !== undefined && hasMember.call(set, seen) ? seen : raw;
}

function holdsAt(target, key, child) {
  if (isMap(target)) return has.call(target, key) && rawOf(get.call(target, key)) === child;
  if (isSet(target)) return hasMember.call(target, memberOf(target, child));
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
  if (isArray(key)) return key; // a range
  if (typeof key === 'string') return isArray(container) && /^(0|[1-9]\d{0,14})$/.test(key) ? Number(key) : key;
  if (typeof key === 'symbol' || isObject(key)) return describe(key)[0];
  if (typeof key === 'number') return Number.isSafeInteger(key) ? key : `${key}`;
  return `${key}`;
}

/// Changes whenever parts may be reached in other ways than before: what routes were found is looked for anew.
let ways = 0;
const newWay = () => void ++ways;

/// How a part is reached: [variable, start of paths, …] and the holdings that were looked at to find out.
class Routes {
  constructor(part) {
    this.ways = ways;
    this.told = [];
    this.holdings = []; // parent's target, key, child's target, …
    this.find(part);
  }

  /// The nearest first.
  find(part) {
    const told = new Set();
    const visited = new Set([part]);
    for (let row = [[part, []]]; row.length > 0; row = this.above(row, visited))
      for (const [at, path] of row)
        for (const [variable, depth] of at.roots)
          if (!told.has(variable) && path.length < depth) {
            told.add(variable);
            this.told.push(variable, path.length === 0 ? undefined : binding.path(path));
          }
  }

  above(row, visited) {
    const next = [];
    for (const [at, path] of row)
      for (const [parent, hint] of at.parents) {
        const key = heldKey(parent, at.target, hint);
        if (key === undefined) at.parents.delete(parent);
        else {
          if (key !== hint) at.parents.set(parent, key);
          this.holdings.push(parent.target, key, at.target);
          if (visited.has(parent)) continue;
          visited.add(parent);
          next.push([parent, [stepOf(parent.target, key), ...path]]);
        }
      }
    return next;
  }

  stillHold() {
    const { holdings } = this;
    if (this.ways !== ways) return false;
    for (let i = 0; i < holdings.length; i += 3) if (!holdsAt(holdings[i], holdings[i + 1], holdings[i + 2])) return false;
    return true;
  }
}

/// [value or its description, the described value's type]
const shown = (value) => (isPlain(value) || value === kUnbound ? [value, undefined] : describe(value));

/// One event for each variable that reaches the part. `key` undefined: the part itself. Not `exact`: told late, so there
/// may have been several changes, on other lines.
function tell(part, op, key, before, after, exact = true) {
  if (!state.paused) tellShown(part, op, key, shown(before), shown(after), exact);
  else state.changed?.();
}

function tellShown(part, op, key, before, after, exact = true) {
  if (!state.paused) write(part, op, key, before[0], before[1], after[0], after[1], exact);
  state.changed?.();
}

/// Types are undefined for values themselves.
function write(part, op, key, before, beforeType, after, afterType, exact) {
  if (part.routes === null || !part.routes.stillHold()) part.routes = new Routes(part);
  const { told } = part.routes;
  if (told.length === 0) return;
  const place = (exact && nearPlace()) || callingPlace(exact);
  const step = key === undefined ? undefined : stepOf(part.target, key);
  for (let i = 0; i < told.length; i += 2)
    change(place, op, told[i], told[i + 1], step, before, beforeType, after, afterType, exact);
}

/// The part that `parent` holds under `key`; its reach grows with what it is found in.
function join(parent, key, target) {
  const part = partOf(target);
  if (part.parents.get(parent) !== key) {
    part.parents.set(parent, key);
    newWay();
  }
  if (part.reach < parent.reach - 1) part.reach = parent.reach - 1;
  return part;
}

module.exports = { parts, partOf, memberOf, join, newWay, stepOf, tell, tellShown, write, shown, ops, state, Routes, kUnbound };
