// What transformed code calls (transform.js): each tells one store. Hidden properties of the global object, so nothing is
// added to the scope of a module, and optimised code takes them for constants.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { describe, isPlain, isObject } = require('./describe.cjs');
const { getOwnPropertyDescriptor, getPrototypeOf, defineProperty, isExtensible } = Object;
const { isProxy } = require('util').types;

/// The binding takes a symbol that is not described for "unbound".
const kUnbound = Symbol('unbound');

/// A data property's value without running code of the program's.
function held(object, key) {
  const own = isProxy(object) ? undefined : getOwnPropertyDescriptor(object, key);
  return own && 'value' in own ? own.value : kUnbound;
}

/// Does `object[key] = …` store a property there?
function stores(object, key) {
  for (let at = object; at !== null; at = getPrototypeOf(at)) {
    if (isProxy(at)) return false;
    const found = getOwnPropertyDescriptor(at, key);
    if (found) return 'value' in found && found.writable && (at === object || isExtensible(object));
  }
  return isExtensible(object);
}

/// Kinds of values that fit into a word (ValueKind of the queue); -1: the others.
const kNumber = 4;
function wordKind(value) {
  switch (typeof value) {
    case 'number':
      return kNumber;
    case 'boolean':
      return 2;
    default:
      return value === null ? 1 : value === kUnbound ? 0 : -1;
  }
}

function install({ store, storeWords, storeDescribed }) {
  const shown = (value) => (isPlain(value) || value === kUnbound ? [value, ''] : describe(value));
  function tellDescribed(site, before, value) {
    const told = shown(before);
    const now = shown(value);
    storeDescribed(site, told[0], told[1], now[0], now[1]);
  }
  function tellOther(site, before, value) {
    const kind = wordKind(before);
    const nowKind = wordKind(value);
    if (kind >= 0 && nowKind >= 0) storeWords(site, kind | (nowKind << 8), kind === 0 ? 0 : +before, nowKind === 0 ? 0 : +value);
    else if (isPlain(value) && (kind === 0 || isPlain(before))) store(site, before, value);
    else tellDescribed(site, before, value);
  }
  // what is short is what optimised code keeps in one piece
  function tell(site, before, value) {
    if (typeof value === 'number' && typeof before === 'number') storeWords(site, kNumber | (kNumber << 8), before, value);
    else tellOther(site, before, value);
  }
  const hooks = {
    // x = e
    s(value, before, site) {
      if (typeof value === 'number' && typeof before === 'number') storeWords(site, kNumber | (kNumber << 8), before, value);
      else tellOther(site, before, value);
      return value;
    },
    // let x = e
    b(value, site) {
      if (typeof value === 'number') storeWords(site, kNumber << 8, 0, value);
      else tellOther(site, kUnbound, value);
      return value;
    },
    // x++
    u(before, result, after, site) {
      tell(site, before, after);
      return result;
    },
    // object.key = e
    g(value, object, key, site) {
      if (isObject(object) && stores(object, key)) tell(site, held(object, key), value);
      return value;
    },
    // the value of object.key, for u
    r: (object, key) => (isObject(object) ? held(object, key) : undefined),
  };
  for (const name of Object.keys(hooks)) defineProperty(globalThis, `watcher$${name}`, { value: hooks[name] });
}

module.exports = { install };
