// What transformed code calls (transform.js): each tells one store. Hidden properties of the global object, so nothing is
// added to the scope of a module, and optimised code takes them for constants.
'use strict';

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

function install({ record, recordDescribed }) {
  function tellDescribed(site, before, value) {
    const [told, type] = isPlain(before) || before === kUnbound ? [before, ''] : describe(before);
    const [now, nowType] = isPlain(value) || value === kUnbound ? [value, ''] : describe(value);
    recordDescribed(site, told, type, now, nowType);
  }
  function tell(site, before, value) {
    if (isPlain(value) && isPlain(before)) record(site, before, value);
    else tellDescribed(site, before, value);
  }
  const hooks = {
    // x = e
    s(value, before, site) {
      tell(site, before, value);
      return value;
    },
    // let x = e
    b(value, site) {
      if (isPlain(value)) record(site, kUnbound, value);
      else tellDescribed(site, kUnbound, value);
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
