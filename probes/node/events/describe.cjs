// What an event shows of an object: a bounded text, made without running code of the program's. No getter, no toJSON, no
// trap of a proxy, no method that a program can replace.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { isProxy, isDate, isMap, isSet, isRegExp, isTypedArray, isNativeError } = require('util').types;
const { getOwnPropertyDescriptor, getPrototypeOf } = Object;
const { ownKeys, apply } = Reflect;
const { isArray } = Array;

const kMostBytes = 1024;
const kMostItems = 64;
const kMostDepth = 4;

const uncurried = (method) => (self, ...rest) => apply(method, self, rest);
const getterOf = (owner, key) => uncurried(getOwnPropertyDescriptor(owner, key).get);
const mapEntries = uncurried(Map.prototype.entries);
const setValues = uncurried(Set.prototype.values);
const nextOfMap = uncurried(getPrototypeOf(new Map().entries()).next);
const nextOfSet = uncurried(getPrototypeOf(new Set().values()).next);
const sizeOfMap = getterOf(Map.prototype, 'size');
const sizeOfSet = getterOf(Set.prototype, 'size');
const timeOf = uncurried(Date.prototype.getTime);
const textOfDate = uncurried(Date.prototype.toISOString);
const sourceOf = getterOf(RegExp.prototype, 'source');
const TypedArray = getPrototypeOf(Uint8Array);
const lengthOfTyped = getterOf(TypedArray.prototype, 'length');
const nameOfTyped = getterOf(TypedArray.prototype, Symbol.toStringTag);
const isEnumerable = uncurried(Object.prototype.propertyIsEnumerable);
const textOfSymbol = uncurried(Symbol.prototype.toString);
const textOfFunction = uncurried(Function.prototype.toString);
const { stringify } = JSON;

/// proxy → what it stands for; ours only (objects.cjs).
const targets = new WeakMap();
const rawOf = (value) => targets.get(value) ?? value;

function dataValue(object, key) {
  const own = getOwnPropertyDescriptor(object, key);
  return own && 'value' in own ? own.value : undefined;
}

const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function';

/// The constructor's name, as far as it can be had without asking anyone.
function typeName(object) {
  if (typeof object === 'function') return isClass(object) ? 'class' : 'function';
  for (let at = object; at !== null && !isProxy(at); at = getPrototypeOf(at)) {
    const made = dataValue(at, 'constructor');
    if (typeof made === 'function' && !isProxy(made)) {
      const name = dataValue(made, 'name');
      if (typeof name === 'string' && name !== '') return name;
    }
  }
  return isProxy(object) ? 'Proxy' : 'Object';
}

function isClass(value) {
  return !isProxy(value) && textOfFunction(value).slice(0, 5) === 'class';
}

class Text {
  constructor() {
    this.parts = [];
    this.left = kMostBytes;
  }
  put(part) {
    if (this.left <= 0) return;
    this.parts.push(part.length <= this.left ? part : part.slice(0, this.left) + '...');
    this.left -= part.length;
  }
  get full() {
    return this.left <= 0;
  }
}

function putItems(text, items, open, close, empty) {
  let count = 0;
  for (const put of items) {
    text.put(count === 0 ? open : ', ');
    if (++count > kMostItems) text.put('...');
    else put();
    if (count > kMostItems || text.full) break;
  }
  text.put(count === 0 ? empty : close);
}

const isName = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;

function putKey(text, key) {
  text.put(typeof key === 'symbol' ? `[${textOfSymbol(key)}]` : isName.test(key) ? key : stringify(key));
}

function putProperty(text, own, depth, seen) {
  if (own === undefined) text.put('<empty>');
  else if ('value' in own) putValue(text, own.value, depth, seen);
  else text.put(own.get === undefined ? '[Setter]' : own.set === undefined ? '[Getter]' : '[Getter/Setter]');
}

function* properties(text, object, depth, seen, keys = ownKeys(object)) {
  for (const key of keys) {
    // asked first: node's global object loads whole modules where a hidden property of it is described
    if (!isEnumerable(object, key)) continue;
    const own = getOwnPropertyDescriptor(object, key);
    if (own === undefined) continue;
    yield () => {
      putKey(text, key);
      text.put(': ');
      putProperty(text, own, depth, seen);
    };
  }
}

function* elements(text, array, depth, seen) {
  const length = dataValue(array, 'length');
  for (let i = 0; i < length; ++i) yield () => putProperty(text, getOwnPropertyDescriptor(array, i), depth, seen);
}

function* pairs(text, map, depth, seen) {
  const iterator = mapEntries(map);
  for (let step = nextOfMap(iterator); !step.done; step = nextOfMap(iterator)) {
    const [key, value] = step.value;
    yield () => {
      putValue(text, key, depth, seen);
      text.put(' => ');
      putValue(text, value, depth, seen);
    };
  }
}

function* members(text, set, depth, seen) {
  const iterator = setValues(set);
  for (let step = nextOfSet(iterator); !step.done; step = nextOfSet(iterator)) {
    const { value } = step;
    yield () => putValue(text, value, depth, seen);
  }
}

function* numbers(text, array) {
  const length = lengthOfTyped(array);
  for (let i = 0; i < length; ++i) yield () => putValue(text, array[i], 0, []);
}

function putFunction(text, value) {
  const name = dataValue(value, 'name');
  const kind = isClass(value) ? 'class' : 'Function';
  const known = typeof name === 'string' && name !== '' ? name : '(anonymous)';
  text.put(kind === 'class' ? `[class ${known}]` : `[Function: ${known}]`);
}

function putObject(text, object, depth, seen) {
  if (isProxy(object)) return text.put('<Proxy>');
  if (seen.includes(object)) return text.put('[Circular]');
  const name = typeName(object);
  if (isDate(object)) return text.put(Number.isNaN(timeOf(object)) ? 'Invalid Date' : textOfDate(object));
  if (isRegExp(object)) return text.put(`/${sourceOf(object)}/`);
  if (depth >= kMostDepth) return text.put(`[${name}]`);
  const around = [...seen, object];
  const next = depth + 1;
  if (isArray(object)) return putItems(text, elements(text, object, next, around), '[ ', ' ]', '[]');
  if (isMap(object)) return putItems(text, pairs(text, object, next, around), `${name}(${sizeOfMap(object)}) { `, ' }', `${name}(0) {}`);
  if (isSet(object)) return putItems(text, members(text, object, next, around), `${name}(${sizeOfSet(object)}) { `, ' }', `${name}(0) {}`);
  if (isTypedArray(object)) {
    const head = `${nameOfTyped(object)}(${lengthOfTyped(object)}) [`;
    return putItems(text, numbers(text, object), `${head} `, ' ]', `${head}]`);
  }
  if (isNativeError(object)) return text.put(`[${name}: ${dataValue(object, 'message') ?? ''}]`);
  const head = name === 'Object' ? '' : `${name} `;
  return putItems(text, properties(text, object, next, around), `${head}{ `, ' }', `${head}{}`);
}

function putValue(text, value, depth, seen) {
  const raw = isObject(value) ? rawOf(value) : value;
  if (typeof raw === 'function' && !isProxy(raw)) putFunction(text, raw);
  else if (isObject(raw)) putObject(text, raw, depth, seen);
  else if (typeof raw === 'string') text.put(stringify(raw.length > kMostBytes ? raw.slice(0, kMostBytes) : raw));
  else if (typeof raw === 'symbol') text.put(textOfSymbol(raw));
  else if (typeof raw === 'bigint') text.put(`${raw}n`);
  else text.put(Object.is(raw, -0) ? '-0' : `${raw}`);
}

/// Values that need no description are events' values themselves.
const isPlain = (value) => {
  const kind = typeof value;
  return (kind !== 'object' || value === null) && kind !== 'function' && kind !== 'symbol';
};

/// [text, type] of what is not plain.
function describe(value) {
  const text = new Text();
  putValue(text, value, 0, []);
  return [text.parts.join(''), typeof value === 'symbol' ? 'symbol' : typeName(rawOf(value))];
}

module.exports = { describe, isPlain, isObject, targets, rawOf };
