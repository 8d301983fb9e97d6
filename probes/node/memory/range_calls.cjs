// Builtins that store to a whole range of a typed array or Buffer: into a watched one, what they would store is computed
// beside and put in place as one event. What this file does not take over, the builtin does itself, store by store.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });
const binding = process._linkedBinding('watcher');

const { apply } = Reflect;
const TypedArray = Object.getPrototypeOf(Uint8Array);
const { fill, set, reverse, sort } = TypedArray.prototype;
const getter = (name) => Object.getOwnPropertyDescriptor(TypedArray.prototype, name).get;
const [kindOf, lengthOf, bufferOf, offsetOf] = [Symbol.toStringTag, 'length', 'buffer', 'byteOffset'].map(getter);
const isArray = Array.isArray;
const kinds = new Map();
for (const name of Object.getOwnPropertyNames(globalThis)) {
  const kind = /^[A-Z]\w+Array$/.test(name) ? globalThis[name] : undefined;
  if (typeof kind === 'function' && Object.getPrototypeOf(kind) === TypedArray) kinds.set(name, kind);
}
const bigKinds = ['BigInt64Array', 'BigUint64Array'];

class Target {
  constructor(array) {
    this.array = array;
    this.name = apply(kindOf, array, []);
    this.kind = kinds.get(this.name);
    this.length = apply(lengthOf, array, []);
    this.holds = bigKinds.includes(this.name) ? 'bigint' : 'number';
  }

  make(count) {
    return new this.kind(count);
  }

  view(first, count) {
    const at = apply(offsetOf, this.array, []) + first * this.kind.BYTES_PER_ELEMENT;
    return new this.kind(apply(bufferOf, this.array, []), at, count);
  }

  copy(first, count) {
    const made = this.make(count);
    apply(set, made, [this.view(first, count)]);
    return made;
  }

  /** The result of the call in an array; undefined: the builtin is to do it. */
  put(first, values, result) {
    const stored = binding.storeMemory(this.array, first * this.kind.BYTES_PER_ELEMENT, values, apply(lengthOf, values, []));
    return stored ? [result] : undefined;
  }
}

const isIndex = (value) => value === undefined || typeof value === 'number';

/** As the builtins count: from the end where it is negative. */
function indexFrom(value, length, otherwise) {
  if (value === undefined) return otherwise;
  const index = Math.trunc(value) || 0;
  return index < 0 ? Math.max(length + index, 0) : Math.min(index, length);
}

/** Values of the kind that the target holds, of which none runs code when it is read. */
function isPlainSource(source, target) {
  const name = apply(kindOf, source, []);
  if (name !== undefined) return bigKinds.includes(name) === (target.holds === 'bigint');
  return isArray(source) && source.every((value) => typeof value === target.holds) && Object.keys(source).length === source.length;
}

const methods = {
  fill(target, value, start, end) {
    if (typeof value !== target.holds || !isIndex(start) || !isIndex(end)) return undefined;
    const first = indexFrom(start, target.length, 0);
    const count = indexFrom(end, target.length, target.length) - first;
    return count > 1 ? target.put(first, apply(fill, target.make(count), [value]), target.array) : undefined;
  },

  set(target, source, offset = 0) {
    if (!Number.isInteger(offset) || offset < 0 || !isPlainSource(source, target)) return undefined;
    const count = isArray(source) ? source.length : apply(lengthOf, source, []);
    if (count < 2 || offset + count > target.length) return undefined;
    const values = target.make(count);
    apply(set, values, [source]);
    return target.put(offset, values, undefined);
  },

  copyWithin(target, to, start, end) {
    if (![to, start, end].every(isIndex)) return undefined;
    const first = indexFrom(to, target.length, 0);
    const from = indexFrom(start, target.length, 0);
    const count = Math.min(indexFrom(end, target.length, target.length) - from, target.length - first);
    return count > 1 ? target.put(first, target.copy(from, count), target.array) : undefined;
  },

  sort(target, compare) {
    if (compare !== undefined || target.length < 2) return undefined;
    return target.put(0, apply(sort, target.copy(0, target.length), []), target.array);
  },

  reverse(target) {
    if (target.length < 2) return undefined;
    return target.put(0, apply(reverse, target.copy(0, target.length), []), target.array);
  },
};

/** In the way of bytes: what the original does to a Buffer, done to a copy of its range. */
const bufferMethods = (original) => ({
  fill(target, value, start = 0, end = target.length, encoding) {
    if (typeof start !== 'number' || typeof end !== 'number') return undefined; // an encoding, or what is refused
    const inside = Number.isInteger(start) && Number.isInteger(end) && start >= 0 && end <= target.length && end - start > 1;
    if (!inside || (typeof value !== 'number' && typeof value !== 'string')) return undefined;
    const bytes = Buffer.from(target.make(end - start).buffer);
    return target.put(start, apply(original.fill, bytes, [value, 0, bytes.length, encoding]), target.array);
  },

  ...Object.fromEntries(
    ['swap16', 'swap32', 'swap64'].map((name) => [
      name,
      (target) => target.put(0, apply(original[name], Buffer.from(target.copy(0, target.length).buffer), []), target.array),
    ]),
  ),
});

/** buffer.copy(target, …): the target is the one that is stored to. */
function copyTo(source, target, to = 0, start = 0, end = apply(lengthOf, source, [])) {
  if (target.name !== 'Uint8Array' || ![to, start, end].every((at) => Number.isInteger(at) && at >= 0)) return undefined;
  const from = new Target(source);
  const count = Math.min(Math.min(end, from.length) - start, target.length - to);
  return count > 1 ? target.put(to, from.copy(start, count), count) : undefined;
}

/** `stored` says which argument is stored to; -1: `this`. */
function lead(owner, name, stored, instead) {
  const own = Object.getOwnPropertyDescriptor(owner, name);
  const led = binding.instead(
    own.value,
    function (...args) {
      try {
        return instead(this, args);
      } catch {
        return undefined; // the builtin says so itself
      }
    },
    stored,
  );
  for (const key of ['name', 'length']) Object.defineProperty(led, key, { value: own.value[key], configurable: true });
  Object.defineProperty(owner, name, { ...own, value: led });
}

let installed = false;

/** Once a thread, when it watches memory for the first time. */
function install() {
  if (installed) return;
  installed = true;
  for (const [name, method] of Object.entries(methods)) lead(TypedArray.prototype, name, -1, (self, args) => method(new Target(self), ...args));
  const original = { ...Buffer.prototype };
  for (const [name, method] of Object.entries(bufferMethods(original))) lead(Buffer.prototype, name, -1, (self, args) => method(new Target(self), ...args));
  lead(Buffer.prototype, 'copy', 0, (self, [target, ...rest]) => copyTo(self, new Target(target), ...rest));
}

module.exports = { install };
