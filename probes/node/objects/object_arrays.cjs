// An array's own methods on a watched array: they run on the array itself, and each element that they put in or take out
// is an event. What sort, reverse and copyWithin do is one event, of the whole array; splice and fill tell of a range.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { isObject, rawOf } = require('./describe.cjs');
const { hold } = require('./object_holdings.cjs');
const { parts, tell, tellShown, shown, ops, kUnbound } = require('./object_graph.cjs');

const own = {};
for (const name of ['push', 'pop', 'shift', 'unshift', 'splice', 'sort', 'reverse', 'fill', 'copyWithin', 'includes', 'indexOf', 'lastIndexOf'])
  own[name] = Array.prototype[name];
const apply = Reflect.apply;
const slice = (array, start, end) => apply(Array.prototype.slice, array, [start, end]);

const asKnown = (value) => (isObject(value) ? (parts.get(rawOf(value))?.seen ?? value) : value);

/// Where a relative index stands, as the language has it.
function position(value, length, otherwise) {
  const number = value === undefined ? otherwise : Math.trunc(Number(value)) || 0;
  return number < 0 ? Math.max(length + number, 0) : Math.min(number, length);
}

function whole(op, name) {
  return (part, array, values) => {
    const before = shown(array);
    apply(own[name], array, values);
    tellShown(part, op, undefined, before, shown(array));
    return part.seen;
  };
}

/// An array that the program made of proxies has these.
const search = (name) => (part, array, [value, ...rest]) => {
  const raw = apply(own[name], array, [rawOf(value), ...rest]);
  if (!isObject(value) || raw === true) return raw;
  const seen = apply(own[name], array, [asKnown(value), ...rest]);
  if (raw === false || raw < 0) return seen;
  return seen < 0 ? raw : name === 'indexOf' ? Math.min(raw, seen) : Math.max(raw, seen);
};

const methods = {
  push(part, array, values) {
    for (const value of values) {
      const at = array.length;
      apply(own.push, array, [rawOf(value)]);
      hold(part, `${at}`, value);
      tell(part, ops.append, at, kUnbound, rawOf(value));
    }
    return array.length;
  },
  pop(part, array) {
    const at = array.length - 1;
    const value = apply(own.pop, array, []);
    if (at >= 0) tell(part, ops.pop, at, value, kUnbound);
    return asKnown(value);
  },
  shift(part, array) {
    const some = array.length > 0;
    const value = apply(own.shift, array, []);
    if (some) tell(part, ops.popleft, 0, value, kUnbound);
    return asKnown(value);
  },
  unshift(part, array, values) {
    const raw = values.map(rawOf);
    apply(own.unshift, array, raw);
    raw.forEach((value, i) => hold(part, `${i}`, value));
    raw.forEach((value, i) => tell(part, ops.appendleft, i, kUnbound, value));
    return array.length;
  },
  splice(part, array, values) {
    const { length } = array;
    const start = position(values[0], length, 0);
    const raw = values.map((value, i) => (i < 2 ? value : rawOf(value)));
    const removed = apply(own.splice, array, raw);
    const added = raw.length - 2;
    for (let i = 0; i < added; ++i) hold(part, `${start + i}`, raw[i + 2]);
    if (removed.length > 0 || added > 0) {
      const op = removed.length === 0 ? ops.insert : added > 0 ? ops.setitem : ops.delitem;
      const after = added > 0 ? slice(array, start, start + added) : kUnbound;
      tell(part, op, [start, start + Math.max(removed.length, added)], removed.length > 0 ? removed : kUnbound, after);
    }
    return removed.map(asKnown);
  },
  fill(part, array, values) {
    const { length } = array;
    const [start, end] = [position(values[1], length, 0), position(values[2], length, length)];
    const before = shown(slice(array, start, end));
    apply(own.fill, array, values.map((value, i) => (i === 0 ? rawOf(value) : value)));
    if (end > start) hold(part, `${start}`, values[0]);
    if (end > start) tellShown(part, ops.setitem, [start, end], before, shown(slice(array, start, end)));
    return part.seen;
  },
  sort: whole(ops.sort, 'sort'),
  reverse: whole(ops.reverse, 'reverse'),
  copyWithin: whole(ops.change, 'copyWithin'),
  includes: search('includes'),
  indexOf: search('indexOf'),
  lastIndexOf: search('lastIndexOf'),
};

const replaced = new Map();
for (const name of Object.keys(methods))
  replaced.set(
    own[name],
    new Proxy(own[name], {
      apply(original, self, values) {
        const part = isObject(self) ? parts.get(rawOf(self)) : undefined;
        if (part === undefined || part.seen !== self) return apply(original, self, values);
        return methods[name](part, part.target, values);
      },
    }),
  );

/// The method to use on a watched array in the place of Array's own; undefined when the program has another one.
const arrayMethod = (key, value) => replaced.get(value);

module.exports = { arrayMethod };
