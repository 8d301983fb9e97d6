// What a function says of itself: its text as it was written, without our hooks. Programs run such texts elsewhere, in
// another context or a browser, where the hooks are not.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });
const binding = process._linkedBinding('watcher');

const { apply } = Reflect;
const kMark = 'watcher$';
const kMostKnown = 1000;

/// By file: its text with hooks, and its edits (transform.js).
const files = new Map();
const known = new Map();

function remember(file, text, edits) {
  files.set(file, { text, edits });
}

/// What was written between two places of a text with hooks. Of an edit that is only begun there, nothing was.
function written({ text, edits }, start, end) {
  let at = start;
  let result = '';
  for (const [from, to, was] of edits) {
    if (to < start || from > end) continue;
    if (from > at) result += text.slice(at, from);
    if (from >= start && to <= end) result += was;
    at = Math.max(at, Math.min(to, end));
  }
  return result + text.slice(at, end);
}

/// Undefined where nobody knows: modules that node's own thread of hooks has loaded.
function search(text) {
  for (const file of files.values()) {
    const start = file.text.indexOf(text);
    if (start >= 0) return written(file, start, start + text.length);
  }
  return undefined;
}

function withoutHooks(text) {
  if (!text.includes(kMark)) return text;
  if (known.size >= kMostKnown) known.clear();
  if (!known.has(text)) known.set(text, search(text) ?? text);
  return known.get(text);
}

/// Once a thread, before the program.
function install() {
  const own = Object.getOwnPropertyDescriptor(Function.prototype, 'toString');
  const led = binding.instead(
    own.value,
    function () {
      try {
        return [withoutHooks(apply(own.value, this === led ? own.value : this, []))];
      } catch {
        return undefined; // the original says so itself
      }
    },
    -2,
  );
  for (const key of ['name', 'length']) Object.defineProperty(led, key, { value: own.value[key], configurable: true });
  Object.defineProperty(Function.prototype, 'toString', { ...own, value: led });
}

module.exports = { install, remember };
