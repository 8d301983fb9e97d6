// What transformed code calls (transform.js). `record(site, before, after)` tells one store.
//
// Hidden properties of the global object: nothing is added to the scope of a module, and optimised code takes them for
// constants.
'use strict';

const kUnbound = Symbol('unbound');
const { getOwnPropertyDescriptor, defineProperty, isExtensible } = Object;

/// A data property's value without running code of the host's.
function held(object, key) {
  const own = getOwnPropertyDescriptor(object, key);
  return own && 'value' in own ? own.value : kUnbound;
}

function stores(object, key) {
  for (let at = object; at !== null; at = Object.getPrototypeOf(at)) {
    const found = getOwnPropertyDescriptor(at, key);
    if (found) return 'value' in found ? found.writable && (at === object || isExtensible(object)) : false;
  }
  return isExtensible(object);
}

const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';

function install(record) {
  const hooks = {
    s(value, before, site) {
      record(site, before, value);
      return value;
    },
    b(value, site) {
      record(site, kUnbound, value);
      return value;
    },
    u(before, result, after, site) {
      record(site, before, after);
      return result;
    },
    g(value, object, key, site) {
      if (isObject(object) && stores(object, key)) record(site, held(object, key), value);
      return value;
    },
    r: (object, key) => (isObject(object) ? held(object, key) : undefined),
  };
  for (const name of Object.keys(hooks)) defineProperty(globalThis, `watcher$${name}`, { value: hooks[name] });
}

module.exports = { install, kUnbound };
