// How an object can be watched, by what it is.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { Array } = globalThis; // a program can put another in its place
const { isArray } = Array;
const { isView } = ArrayBuffer;
const types = require('util').types;
const { getOwnPropertyDescriptor, getPrototypeOf, isExtensible } = Object;
const textOf = Function.prototype.toString;

const kPrivateName = /#[\p{ID_Start}$_]/u;
const kNative = /\{\s*\[native code\]\s*\}\s*$/;
/// constructor → what instances of it keep where no proxy can show it
const known = new WeakMap();

function stateOf(constructor) {
  if (known.has(constructor)) return known.get(constructor);
  let found = 'open';
  if (types.isProxy(constructor)) found = 'closed';
  else {
    const text = textOf.call(constructor);
    if (kNative.test(text)) found = 'closed';
    else if (kPrivateName.test(text)) found = 'private';
  }
  known.set(constructor, found);
  return found;
}

function isRoot(prototype) {
  return getPrototypeOf(prototype) === null;
}

/// 'open': its properties are all. 'private': its class has private names, so its methods need the object itself.
/// 'closed': instances of native classes keep their state to themselves.
function instanceKind(target) {
  let kind = 'open';
  for (let at = getPrototypeOf(target); at !== null && !isRoot(at); at = getPrototypeOf(at)) {
    if (types.isProxy(at)) return 'closed';
    const own = getOwnPropertyDescriptor(at, 'constructor');
    if (own === undefined || typeof own.value !== 'function' || own.value === Array) continue;
    const found = stateOf(own.value);
    if (found === 'closed') return 'closed';
    if (found === 'private') kind = 'private';
  }
  return kind;
}

/// 'array', 'map', 'set', 'date', 'open', 'private'; null: cannot be watched.
function kindOf(target) {
  if (typeof target !== 'object' || target === null || types.isProxy(target)) return null;
  const inPlace = types.isMap(target) ? 'map' : types.isSet(target) ? 'set' : types.isDate(target) ? 'date' : null;
  if (inPlace !== null) return isExtensible(target) ? inPlace : null;
  if (isView(target) || types.isAnyArrayBuffer(target)) return null;
  if (types.isPromise(target) || types.isRegExp(target) || types.isModuleNamespaceObject(target)) return null;
  if (types.isBoxedPrimitive(target) || types.isGeneratorObject(target) || types.isExternal(target)) return null;
  if (types.isWeakMap(target) || types.isWeakSet(target) || types.isNativeError(target)) return null;
  const kind = instanceKind(target);
  if (kind === 'closed') return null;
  return isArray(target) && kind === 'open' ? 'array' : kind;
}

module.exports = { kindOf };
