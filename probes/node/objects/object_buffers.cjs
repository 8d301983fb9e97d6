// Memory inside watched objects: `state.pixels[7] = 1` is a change of `state`. Its stores are found by the pages they go to,
// where nobody can ask how it is reached: so it is watched under the path of the moment, which is looked for anew after
// each change of an object.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { WeakRef } = globalThis; // a program can put others in their place
const { parts, state, Routes } = require('./object_graph.cjs');
const memory = require('./memory.cjs');

/// What is memory among the parts, as long as the program has it.
const references = new Set();
const known = new WeakSet();

/// The part that was found is memory.
function add(part) {
  if (known.has(part.target)) return;
  known.add(part.target);
  references.add(new WeakRef(part.target));
  state.changed = settle;
}

const same = (one, other) => one.length === other.length && one.every((each, i) => each === other[i]);

function settle() {
  for (const reference of references) {
    const target = reference.deref();
    if (target === undefined) {
      references.delete(reference);
      continue;
    }
    const part = parts.get(target);
    const told = part.routes?.told ?? [];
    if (part.routes?.stillHold()) continue;
    part.routes = new Routes(part);
    if (!same(told, part.routes.told)) memory.watchPart(target, part.routes.told);
  }
}

module.exports = { add, settle };
