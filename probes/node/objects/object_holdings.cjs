// What a value that comes into a watched object brings along. A part knows its holders by having been found in them; an
// object that several hold would be lost to those that nobody has looked into: so known parts, and what is found twice,
// are looked for in each new value.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { Map } = globalThis; // a program can put others in their place
const { isObject, rawOf } = require('./describe.cjs');
const { parts, join } = require('./object_graph.cjs');
const buffers = require('./object_buffers.cjs');
const { isMap, isSet, isProxy, isAnyArrayBuffer, isModuleNamespaceObject } = require('util').types;
const { getOwnPropertyDescriptor } = Object;
const { ownKeys } = Reflect;
const { isArray } = Array;
const { isView } = ArrayBuffer;
const { entries } = Map.prototype;
const { values } = Set.prototype;

const kMostHoldings = 100_000;
const kLarge = 1000;
/// Large objects of the program's own in which nothing was found: what happens to them unseen stays so.
const barren = new WeakSet();

class Search {
  constructor(holder) {
    this.objects = [holder.target];
    this.known = [holder];
    this.above = [-1]; // of each object: by which it is held, where, and how far below
    this.keys = [undefined];
    this.steps = [0];
    this.places = new Map();
    this.most = holder.reach;
    this.looked = 0;
    this.found = false;
  }

  meet(from, key, value) {
    ++this.looked;
    if (typeof value !== 'object' || value === null) return;
    const target = rawOf(value);
    if (isProxy(target) || isModuleNamespaceObject(target)) return;
    if (isView(target) || isAnyArrayBuffer(target)) {
      if (this.steps[from] + 1 < this.most) buffers.add(this.link(from, key, target));
      return;
    }
    const place = this.places.get(target);
    if (place !== undefined) {
      this.partAt(place);
      this.link(from, key, target);
    } else if (parts.has(target)) this.link(from, key, target);
    else if (this.steps[from] + 1 < this.most) {
      this.places.set(target, this.objects.length);
      this.objects.push(target);
      this.above.push(from);
      this.keys.push(key);
      this.steps.push(this.steps[from] + 1);
    }
  }

  link(from, key, target) {
    this.found = true;
    return join(this.partAt(from), key, target);
  }

  partAt(place) {
    return (this.known[place] ??= this.link(this.above[place], this.keys[place], this.objects[place]));
  }

  lookInto(place) {
    const target = this.objects[place];
    if (isMap(target)) for (const [key, value] of entries.call(target)) this.meet(place, key, value);
    else if (isSet(target)) for (const value of values.call(target)) this.meet(place, value, value);
    else this.lookIntoProperties(place, target);
  }

  lookIntoProperties(place, target) {
    const keys = isArray(target) ? target.length : ownKeys(target);
    const count = isArray(target) ? keys : keys.length;
    for (let i = 0; i < count && this.looked < kMostHoldings; ++i) {
      const key = isArray(target) ? i : keys[i];
      this.meet(place, isArray(target) ? `${i}` : key, getOwnPropertyDescriptor(target, key)?.value);
    }
  }

  run(place) {
    for (; place < this.objects.length && this.looked < kMostHoldings; ++place) this.lookInto(place);
    return this.found;
  }
}

/// `holder`, a part, holds `value` under `key` from now on.
function hold(holder, key, value) {
  if (!isObject(value) || holder.reach <= 1) return;
  const target = rawOf(value);
  if (parts.has(target)) return void join(holder, key, target);
  if (barren.has(target)) return;
  const search = new Search(holder);
  search.meet(0, key, target);
  if (!search.run(1) && search.looked > kLarge) barren.add(target);
}

/// All that a newly watched object holds.
function holdAll(part) {
  if (!barren.has(part.target)) new Search(part).run(0);
  buffers.settle();
}

module.exports = { hold, holdAll };
