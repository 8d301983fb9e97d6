// What an event shows of an object: a bounded text, made without running code of the program's. No getter, no toJSON, no
// trap of a proxy, no method that a program can replace.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { isProxy, isDate, isMap, isSet, isRegExp, isTypedArray, isNativeError } = require('util').types;
const { getOwnPropertyDescriptor, getPrototypeOf, defineProperty } = Object;
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
const sliceOf = uncurried(String.prototype.slice);
const test = uncurried(RegExp.prototype.test);
const { stringify } = JSON;
const { is } = Object;
const { isNaN } = Number;

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
  return !isProxy(value) && sliceOf(textOfFunction(value), 0, 5) === 'class';
}

class Text {
  constructor() {
    this.text = '';
    this.left = kMostBytes;
  }
  put(part) {
    if (this.left <= 0) return;
    this.text += part.length <= this.left ? part : sliceOf(part, 0, this.left) + '...';
    this.left -= part.length;
  }
  /** In front of item number `count`: is there room for it? */
  begin(count, open) {
    this.put(count === 0 ? open : ', ');
    if (count < kMostItems) return this.left > 0;
    this.put('...');
    return false;
  }
}

/// Asked with the language's own `exec`, whatever the program puts in its place.
const closed = (expression) => defineProperty(expression, 'exec', { value: RegExp.prototype.exec });
const isPlainName = closed(/^[A-Za-z$_][\w$]*$/);
const isName = closed(/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u);

function putKey(text, key) {
  if (typeof key === 'symbol') text.put(`[${textOfSymbol(key)}]`);
  else text.put(test(isPlainName, key) || test(isName, key) ? key : stringify(key));
}

function putProperty(text, own, depth, seen) {
  if (own === undefined) text.put('<empty>');
  else if ('value' in own) putValue(text, own.value, depth, seen);
  else text.put(own.get === undefined ? '[Setter]' : own.set === undefined ? '[Getter]' : '[Getter/Setter]');
}

function putProperties(text, object, head, depth, seen) {
  let count = 0;
  const keys = ownKeys(object);
  for (let i = 0; i < keys.length; ++i) {
    const key = keys[i];
    // asked first: node's global object loads whole modules where a hidden property of it is described
    if (!isEnumerable(object, key)) continue;
    const own = getOwnPropertyDescriptor(object, key);
    if (own === undefined) continue;
    if (!text.begin(count++, `${head}{ `)) break;
    putKey(text, key);
    text.put(': ');
    putProperty(text, own, depth, seen);
  }
  text.put(count === 0 ? `${head}{}` : ' }');
}

function putElements(text, array, depth, seen) {
  const length = dataValue(array, 'length');
  for (let i = 0; i < length && text.begin(i, '[ '); ++i) putProperty(text, getOwnPropertyDescriptor(array, i), depth, seen);
  text.put(length === 0 ? '[]' : ' ]');
}

function putPairs(text, map, head, depth, seen) {
  let count = 0;
  const iterator = mapEntries(map);
  for (let step = nextOfMap(iterator); !step.done && text.begin(count++, `${head} { `); step = nextOfMap(iterator)) {
    putValue(text, step.value[0], depth, seen);
    text.put(' => ');
    putValue(text, step.value[1], depth, seen);
  }
  text.put(count === 0 ? `${head} {}` : ' }');
}

function putMembers(text, set, head, depth, seen) {
  let count = 0;
  const iterator = setValues(set);
  for (let step = nextOfSet(iterator); !step.done && text.begin(count++, `${head} { `); step = nextOfSet(iterator))
    putValue(text, step.value, depth, seen);
  text.put(count === 0 ? `${head} {}` : ' }');
}

function putNumbers(text, array, head) {
  const length = lengthOfTyped(array);
  for (let i = 0; i < length && text.begin(i, `${head} `); ++i) putValue(text, array[i], 0, null);
  text.put(length === 0 ? `${head}]` : ' ]');
}

function putFunction(text, value) {
  const name = dataValue(value, 'name');
  const kind = isClass(value) ? 'class' : 'Function';
  const known = typeof name === 'string' && name !== '' ? name : '(anonymous)';
  text.put(kind === 'class' ? `[class ${known}]` : `[Function: ${known}]`);
}

function isAmong(seen, object) {
  for (let at = seen; at !== null; at = at.outer) if (at.object === object) return true;
  return false;
}

function putObject(text, object, depth, seen) {
  if (isProxy(object)) return text.put('<Proxy>');
  if (isAmong(seen, object)) return text.put('[Circular]');
  const name = typeName(object);
  if (isDate(object)) return text.put(isNaN(timeOf(object)) ? 'Invalid Date' : textOfDate(object));
  if (isRegExp(object)) return text.put(`/${sourceOf(object)}/`);
  if (depth >= kMostDepth) return text.put(`[${name}]`);
  const around = { object, outer: seen };
  const next = depth + 1;
  if (isArray(object)) return putElements(text, object, next, around);
  if (isMap(object)) return putPairs(text, object, `${name}(${sizeOfMap(object)})`, next, around);
  if (isSet(object)) return putMembers(text, object, `${name}(${sizeOfSet(object)})`, next, around);
  if (isTypedArray(object)) return putNumbers(text, object, `${nameOfTyped(object)}(${lengthOfTyped(object)}) [`);
  if (isNativeError(object)) return text.put(`[${name}: ${dataValue(object, 'message') ?? ''}]`);
  putProperties(text, object, name === 'Object' ? '' : `${name} `, next, around);
}

function putValue(text, value, depth, seen) {
  const raw = isObject(value) ? rawOf(value) : value;
  if (typeof raw === 'function' && !isProxy(raw)) putFunction(text, raw);
  else if (isObject(raw)) putObject(text, raw, depth, seen);
  else if (typeof raw === 'string') text.put(stringify(raw.length > kMostBytes ? sliceOf(raw, 0, kMostBytes) : raw));
  else if (typeof raw === 'symbol') text.put(textOfSymbol(raw));
  else if (typeof raw === 'bigint') text.put(`${raw}n`);
  else text.put(is(raw, -0) ? '-0' : `${raw}`);
}

/// Values that need no description are events' values themselves.
const isPlain = (value) => {
  const kind = typeof value;
  return (kind !== 'object' || value === null) && kind !== 'function' && kind !== 'symbol';
};

/// [text, type] of what is not plain.
function describe(value) {
  const text = new Text();
  putValue(text, value, 0, null);
  return [text.text, typeof value === 'symbol' ? 'symbol' : typeName(rawOf(value))];
}

module.exports = { describe, isPlain, isObject, targets, rawOf };
