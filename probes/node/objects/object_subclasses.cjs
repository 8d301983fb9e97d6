// Subclasses of Map, Set and Date, whose methods reach the language's own by `super`, past the methods that a watched
// object has of its own. What such a method changed is told when it returns.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { Date, Map, Proxy, Set } = globalThis; // a program can put others in their place
const { isObject, rawOf } = require('./describe.cjs');
const { hold } = require('./object_holdings.cjs');
const { parts, tell, ops, kUnbound } = require('./object_graph.cjs');
const { isProxy } = require('util').types;
const { getOwnPropertyDescriptor, getPrototypeOf, defineProperty, is } = Object;
const { apply } = Reflect;
const { entries, get } = Map.prototype;
const { values } = Set.prototype;
const { getTime } = Date.prototype;
const textOf = Function.prototype.toString;

/// `found(key, value)`: what the program is to hold of a value. `copy`: the state, raw; `tell`: from one to the next.
const kinds = {
  map: {
    prototype: Map.prototype,
    copy(target) {
      const state = new Map();
      for (const [key, value] of apply(entries, target, [])) state.set(key, rawOf(value));
      return state;
    },
    tell(part, before, after) {
      for (const [key, value] of after) {
        if (before.has(key) && is(before.get(key), value)) continue;
        hold(part, key, value);
        tell(part, ops.setitem, key, before.has(key) ? before.get(key) : kUnbound, value, false);
      }
      for (const [key, value] of before) if (!after.has(key)) tell(part, ops.delitem, key, value, kUnbound, false);
    },
    keyOf: (target, key, value) => (is(rawOf(apply(get, target, [key])), value) ? key : undefined),
  },
  set: {
    prototype: Set.prototype,
    copy(target) {
      const state = new Set();
      for (const value of apply(values, target, [])) state.add(rawOf(value));
      return state;
    },
    tell(part, before, after) {
      for (const value of after) {
        if (before.has(value)) continue;
        hold(part, value, value);
        tell(part, ops.add, undefined, kUnbound, value, false);
      }
      for (const value of before) if (!after.has(value)) tell(part, ops.discard, undefined, value, kUnbound, false);
    },
  },
  date: {
    prototype: Date.prototype,
    copy: (target) => new Date(apply(getTime, target, [])),
    tell(part, before, after) {
      if (!is(before.getTime(), after.getTime())) tell(part, ops.change, undefined, before, after, false);
    },
  },
};

/// An object while such a method runs: its state as far as it was told.
class Behind {
  constructor(part, kind) {
    this.part = part;
    this.kind = kind;
    this.renew();
  }
  settle() {
    const before = this.state;
    this.renew();
    this.kind.tell(this.part, before, this.state);
  }
  renew() {
    this.state = this.kind.copy(this.part.target);
  }
}

const kReachesBehind = /\b(super|prototype)\b/;
const reaches = new WeakMap();

function reachesBehind(method) {
  if (!reaches.has(method)) reaches.set(method, kReachesBehind.test(textOf.call(method)));
  return reaches.get(method);
}

function told(part, kind, method, found) {
  const { target } = part;
  return new Proxy(method, {
    apply(_, self, given) {
      if (self !== target) return apply(method, self, given);
      const outermost = part.behind === undefined;
      if (outermost) part.behind = new Behind(part, kind);
      else part.behind.settle();
      let result;
      try {
        result = apply(method, self, given);
      } finally {
        part.behind.settle();
        if (outermost) part.behind = undefined;
      }
      if (!isObject(result)) return result;
      const key = kind.keyOf?.(target, given[0], result);
      return key !== undefined ? found(key, result) : parts.get(result)?.seen ?? result;
    },
  });
}

function watchSubclass(part, kindName, found) {
  const { target } = part;
  const kind = kinds[kindName];
  for (let at = getPrototypeOf(target); at !== kind.prototype && at !== null && !isProxy(at); at = getPrototypeOf(at))
    for (const name of Reflect.ownKeys(at)) {
      const { value } = getOwnPropertyDescriptor(at, name);
      if (name === 'constructor' || typeof value !== 'function' || Object.hasOwn(target, name) || !reachesBehind(value)) continue;
      defineProperty(target, name, { value: told(part, kind, value, found), writable: true, configurable: true, enumerable: false });
    }
}

module.exports = { watchSubclass };
