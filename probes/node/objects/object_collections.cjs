// Watched Maps, Sets and Dates: the object itself, with methods of its own in front of its class's. They are not
// enumerable, so that inspecting, comparing and cloning see what they always saw.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { rawOf } = require('./describe.cjs');
const { hold } = require('./object_holdings.cjs');
const { parts, memberOf, tell, tellShown, shown, ops, kUnbound } = require('./object_graph.cjs');
const { watchSubclass } = require('./object_subclasses.cjs');
const { getPrototypeOf, defineProperty } = Object;
const apply = Reflect.apply;

const map = methodsOf(Map.prototype);
const set = methodsOf(Set.prototype);
const MapIterator = getPrototypeOf(new Map().entries());
const SetIterator = getPrototypeOf(new Set().values());

function methodsOf(prototype) {
  const out = {};
  for (const name of Object.getOwnPropertyNames(prototype)) {
    const { value } = Object.getOwnPropertyDescriptor(prototype, name);
    if (typeof value === 'function') out[name] = value;
  }
  return out;
}

/// `methods` in front of the language's own; what a subclass defines stays.
function install(target, methods, prototype) {
  for (const name of Reflect.ownKeys(methods)) {
    if (target[name] !== prototype[name]) continue;
    const value = methods[name];
    defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
  }
}

/// An iterator like the language's, whose values pass `change`.
function iterator(source, prototype, change) {
  const own = Object.create(prototype);
  defineProperty(own, 'next', {
    value: function next() {
      const step = source.next();
      return step.done ? step : { value: change(step.value), done: false };
    },
  });
  return own;
}

function watchMap(part, expose) {
  const { target } = part;
  const found = (key, value) => expose(part, key, value);
  const methods = {
    get(key) {
      return this === target ? found(key, apply(map.get, target, [key])) : apply(map.get, this, [key]);
    },
    set(key, value) {
      if (this !== target) return apply(map.set, this, [key, value]);
      part.behind?.settle();
      const before = shown(apply(map.has, target, [key]) ? apply(map.get, target, [key]) : kUnbound);
      const raw = rawOf(value);
      apply(map.set, target, [key, raw]);
      hold(part, key, raw);
      tellShown(part, ops.setitem, key, before, shown(raw));
      part.behind?.renew();
      return target;
    },
    delete(key) {
      if (this !== target || !apply(map.has, target, [key])) return apply(map.delete, this, [key]);
      part.behind?.settle();
      const before = apply(map.get, target, [key]);
      apply(map.delete, target, [key]);
      tell(part, ops.delitem, key, before, kUnbound);
      part.behind?.renew();
      return true;
    },
    clear() {
      if (this !== target) return apply(map.clear, this, []);
      part.behind?.settle();
      const before = shown(target);
      apply(map.clear, target, []);
      tellShown(part, ops.clear, undefined, before, shown(target));
      part.behind?.renew();
      return undefined;
    },
    forEach(callback, self) {
      if (typeof callback !== 'function') return apply(map.forEach, this, [callback]);
      return apply(map.forEach, this, [(value, key, all) => apply(callback, self, [found(key, value), key, all])]);
    },
    values() {
      return iterator(apply(map.entries, this, []), MapIterator, ([key, value]) => found(key, value));
    },
    entries() {
      return iterator(apply(map.entries, this, []), MapIterator, ([key, value]) => [key, found(key, value)]);
    },
  };
  install(target, { ...methods, [Symbol.iterator]: methods.entries }, Map.prototype);
  watchSubclass(part, 'map', found);
}

function watchSet(part, expose) {
  const { target } = part;
  const found = (value) => expose(part, value, value);
  const methods = {
    has(value) {
      return apply(set.has, this, [memberOf(this, value)]);
    },
    add(value) {
      const raw = memberOf(this, value);
      if (this !== target || apply(set.has, target, [raw])) return apply(set.add, this, [raw]);
      part.behind?.settle();
      apply(set.add, target, [raw]);
      hold(part, raw, raw);
      tell(part, ops.add, undefined, kUnbound, raw);
      part.behind?.renew();
      return target;
    },
    delete(value) {
      const member = memberOf(this, value);
      if (this !== target || !apply(set.has, target, [member])) return apply(set.delete, this, [member]);
      part.behind?.settle();
      apply(set.delete, target, [member]);
      tell(part, ops.discard, undefined, rawOf(member), kUnbound);
      part.behind?.renew();
      return true;
    },
    clear() {
      if (this !== target) return apply(set.clear, this, []);
      part.behind?.settle();
      const before = shown(target);
      apply(set.clear, target, []);
      tellShown(part, ops.clear, undefined, before, shown(target));
      part.behind?.renew();
      return undefined;
    },
    forEach(callback, self) {
      if (typeof callback !== 'function') return apply(set.forEach, this, [callback]);
      return apply(set.forEach, this, [(value, key, all) => apply(callback, self, [found(value), found(key), all])]);
    },
    values() {
      return iterator(apply(set.values, this, []), SetIterator, found);
    },
    entries() {
      return iterator(apply(set.values, this, []), SetIterator, (value) => [found(value), found(value)]);
    },
  };
  install(target, { ...methods, keys: methods.values, [Symbol.iterator]: methods.values }, Set.prototype);
  watchSubclass(part, 'set', found);
}

/// A date's `set…()`, for all watched dates.
const setters = {};
for (const [name, method] of Object.entries(methodsOf(Date.prototype)))
  if (name.startsWith('set')) setters[name] = new Proxy(method, { apply: setDate });

function setDate(method, self, values) {
  const part = parts.get(self);
  if (part === undefined) return apply(method, self, values);
  part.behind?.settle();
  const before = shown(self);
  const time = apply(method, self, values);
  const after = shown(self);
  if (after[0] !== before[0]) tellShown(part, ops.change, undefined, before, after);
  part.behind?.renew();
  return time;
}

function watchDate(part) {
  install(part.target, setters, Date.prototype);
  watchSubclass(part, 'date');
}

module.exports = { watchMap, watchSet, watchDate };
