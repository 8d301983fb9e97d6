// watch() of objects: a proxy in front of plain objects, arrays and instances; Map, Set and Date get methods of their own
// in place, since their state is out of a proxy's reach.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { Map, Proxy, WeakMap } = globalThis; // a program can put others in their place
const { isArray } = Array;
const { isObject, isPlain, rawOf, targets } = require('./describe.cjs');
const { kindOf } = require('./object_kinds.cjs');
const { parts, partOf, join, newWay, stepOf, tell, tellShown, write, shown, ops, state, kUnbound } = require('./object_graph.cjs');
const { hold, holdAll } = require('./object_holdings.cjs');
const buffers = require('./object_buffers.cjs');
const { arrayMethod } = require('./object_arrays.cjs');
const { watchMap, watchSet, watchDate } = require('./object_collections.cjs');
const copies = require('./object_copies.cjs');
const { getOwnPropertyDescriptor, getPrototypeOf } = Object;
const binding = process._linkedBinding('watcher');

const kDefaultDepth = 4;

/// What the program is to hold in the place of a value found in a part.
function expose(part, key, value) {
  if (!isObject(value) || part.reach <= 1) return value;
  const target = rawOf(value);
  if (parts.get(target)?.equipped) return join(part, key, target).seen;
  const kind = kindOf(target);
  return kind === null ? value : equip(join(part, key, target), kind).seen;
}

function equip(part, kind) {
  const { target } = part;
  part.equipped = true;
  if (kind === 'map') watchMap(part, expose);
  else if (kind === 'set') watchSet(part, expose);
  else if (kind === 'date') watchDate(part);
  else {
    const traps = kind === 'private' ? new KeptTraps(part) : new Traps(part);
    part.seen = new Proxy(target, traps);
    targets.set(part.seen, target);
    if (traps instanceof KeptTraps) kept.set(part.seen, traps);
    if (kind === 'private') keepSeen(part);
  }
  return part;
}

/// Methods with private names run on the object itself, so it holds what the program is to see of its parts.
function keepSeen(part) {
  for (const key of Reflect.ownKeys(part.target)) {
    const own = getOwnPropertyDescriptor(part.target, key);
    if (own.writable && isObject(own.value)) part.target[key] = expose(part, key, own.value);
  }
}

const isFixed = (own) => own !== undefined && !own.configurable && !own.writable;

class Traps {
  constructor(part) {
    this.part = part;
    this.isArray = isArray(part.target);
    this.stored = this.isArray ? ops.setitem : ops.setattr;
    this.deleted = this.isArray ? ops.delitem : ops.delattr;
  }

  get(target, key, receiver) {
    const value = Reflect.get(target, key, receiver);
    if (typeof value === 'function') return (this.isArray && arrayMethod(key, value)) || value;
    if (!isObject(value) || isFixed(getOwnPropertyDescriptor(target, key))) return value;
    return expose(this.part, key, value);
  }

  getOwnPropertyDescriptor(target, key) {
    const own = getOwnPropertyDescriptor(target, key);
    if (own !== undefined && 'value' in own && !isFixed(own)) own.value = expose(this.part, key, own.value);
    return own;
  }

  set(target, key, value, receiver) {
    if (receiver !== this.part.seen) return Reflect.set(target, key, value, receiver);
    const own = getOwnPropertyDescriptor(target, key);
    const holder = own ?? inherited(target, key);
    if (holder !== undefined && !('value' in holder)) return this.setter(target, key, value, receiver);
    // a property that is there keeps its place: storing it by name is all that Reflect.set does
    if (own !== undefined && own.writable && isPlain(value) && isPlain(own.value) && !(this.isArray && key === 'length')) {
      target[key] = value;
      if (!state.paused) write(this.part, this.stored, key, own.value, undefined, value, undefined, true);
      return true;
    }
    const raw = rawOf(value);
    const before = shown(own === undefined ? kUnbound : own.value);
    const after = shown(raw);
    const op = this.opFor(target, key, own);
    const stored = Reflect.set(target, key, raw, target);
    if (stored) {
      hold(this.part, key, raw);
      tellShown(this.part, op, key, before, after);
    }
    return stored;
  }

  setter(target, key, value, receiver) {
    return Reflect.set(target, key, value, receiver);
  }

  /// Writing behind an array's end appends to it.
  opFor(target, key, own) {
    if (!this.isArray) return this.stored;
    if (key === 'length' || typeof stepOf(target, key) !== 'number') return ops.setattr;
    return own === undefined && key >= target.length ? ops.append : ops.setitem;
  }

  defineProperty(target, key, descriptor) {
    const own = getOwnPropertyDescriptor(target, key);
    const plain = 'value' in descriptor && (descriptor.configurable || descriptor.writable || own?.configurable || own?.writable);
    const before = shown(own === undefined ? kUnbound : own.value);
    const op = this.opFor(target, key, own);
    const done = Reflect.defineProperty(target, key, plain ? { ...descriptor, value: rawOf(descriptor.value) } : descriptor);
    if (done && ('value' in descriptor || 'get' in descriptor || own === undefined)) {
      const { value } = getOwnPropertyDescriptor(target, key);
      hold(this.part, key, value);
      tellShown(this.part, op, key, before, shown(value));
    }
    return done;
  }

  deleteProperty(target, key) {
    const own = getOwnPropertyDescriptor(target, key);
    const before = own && shown(own.value);
    const done = Reflect.deleteProperty(target, key);
    if (done && own !== undefined) tellShown(this.part, this.deleted, key, before, [kUnbound, '']);
    return done;
  }
}

function inherited(target, key) {
  for (let at = getPrototypeOf(target); at !== null; at = getPrototypeOf(at)) {
    const own = getOwnPropertyDescriptor(at, key);
    if (own !== undefined) return own;
  }
  return undefined;
}

/// proxy → its KeptTraps
const kept = new WeakMap();

/// Objects whose methods need the object itself, for its private names. What a method changed is told when it returns.
class KeptTraps extends Traps {
  constructor(part) {
    super(part);
    this.methods = new WeakMap();
  }

  get(target, key, receiver) {
    const value = Reflect.get(target, key, receiver === this.part.seen ? target : receiver);
    if (typeof value === 'function' && key !== 'constructor') return this.method(value);
    if (!isObject(value) || isFixed(getOwnPropertyDescriptor(target, key))) return value;
    return expose(this.part, key, value);
  }

  setter(target, key, value, receiver) {
    return this.compared(() => Reflect.set(target, key, value, receiver === this.part.seen ? target : receiver));
  }

  method(original) {
    const known = this.methods.get(original);
    if (known !== undefined) return known;
    const traps = this;
    const { target, seen } = this.part;
    const made = new Proxy(original, {
      apply(method, self, values) {
        if (self !== seen) return Reflect.apply(method, self, values);
        // equals(other) reads the other one's private names, too
        const others = values.map((value) => kept.get(value)).filter((other) => other !== undefined && other !== traps);
        const call = () => Reflect.apply(method, target, values.map((value) => (kept.has(value) ? rawOf(value) : value)));
        const run = others.reduce((inner, other) => () => other.compared(inner), call);
        const result = traps.compared(run);
        return result === target ? seen : result;
      },
    });
    this.methods.set(original, made);
    return made;
  }

  compared(run) {
    const before = this.snapshot();
    try {
      return run();
    } finally {
      this.compare(before);
    }
  }

  snapshot() {
    const values = new Map();
    for (const key of Reflect.ownKeys(this.part.target)) {
      const own = getOwnPropertyDescriptor(this.part.target, key);
      if ('value' in own) values.set(key, own.value);
    }
    return values;
  }

  compare(before) {
    const after = this.snapshot();
    for (const [key, value] of after)
      if (!before.has(key) || !Object.is(rawOf(before.get(key)), rawOf(value)))
        tell(this.part, ops.setattr, key, before.has(key) ? before.get(key) : kUnbound, value, false);
    for (const [key, value] of before) if (!after.has(key)) tell(this.part, ops.delattr, key, value, kUnbound, false);
    keepSeen(this.part);
  }
}

/// watch() of what is no memory: gives what the program is to use from now on, a proxy or the value itself. `terms` as
/// watcher.cjs has checked them.
function watch(value, terms) {
  const target = isObject(value) ? rawOf(value) : value;
  const kind = parts.get(target)?.equipped ? 'known' : kindOf(target);
  if (kind === null) {
    binding.log(2, `${terms.name || 'a value'} is not watched: watch() takes objects, arrays, Map, Set and Date that are not frozen, typed arrays and buffers`);
    return value;
  }
  if (!binding.start()) return value;
  const depth = terms.depth || Number(binding.option('depth')) || kDefaultDepth;
  const part = partOf(target);
  part.roots.set(binding.objectVariable(terms.name, terms.depthBytes, terms.when, terms.sample, terms.maxPerSecond), depth);
  part.reach = Math.max(part.reach, depth);
  newWay();
  if (kind !== 'known') equip(part, kind);
  copies.areNeeded();
  holdAll(part);
  if (binding.option('record_init') === 'true') tell(part, ops.init, undefined, kUnbound, target);
  return part.seen;
}

/// True when the value was watched.
function unwatch(value) {
  const part = isObject(value) ? parts.get(rawOf(value)) : undefined;
  const watched = part !== undefined && part.roots.size > 0;
  if (watched) {
    part.roots.clear();
    newWay();
    buffers.settle();
  }
  return watched;
}

const pause = () => void (state.paused = true);
const resume = () => void (state.paused = false);

module.exports = { watch, unwatch, pause, resume };
