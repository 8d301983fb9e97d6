// Memory that grows, shrinks or moves while it is watched: the watch follows the bytes.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { Uint8Array, WebAssembly } = globalThis; // a program can put others in their place
const binding = process._linkedBinding('watcher');

/** By buffer, or memory of WebAssembly: who is watched in it. A WeakRef would keep what a long loop makes until its end. */
const inside = new WeakMap();
let installed = false;

function isWasmMemory(value) {
  return typeof WebAssembly === 'object' && value instanceof WebAssembly.Memory;
}

/** The new watch comes before the old one ends: what others write meanwhile is seen. */
function renew(watched, buffer, offset, length) {
  const region = length === 0 ? 0 : binding.rewatchMemory(new Uint8Array(buffer, offset, length), watched.itemBytes, watched.variable);
  if (region < 0 || (region === 0 && length > 0))
    binding.log(2, `a watched buffer is now ${length} bytes long, and no engine takes its memory: it is not watched any longer`);
  binding.unwatchMemory(watched.region);
  Object.assign(watched, { region: Math.max(region, 0), offset, length });
}

/** A buffer, or the memory behind it, may have another length. */
function resized(owner) {
  const buffer = isWasmMemory(owner) ? bufferOf.call(owner) : owner;
  for (const { value, watched } of inside.get(owner) ?? []) {
    if (watched.variable === undefined) continue;
    const length = isWasmMemory(value) ? buffer.byteLength : value.byteLength;
    if (length !== watched.length) renew(watched, buffer, watched.offset, length);
  }
}

/** A buffer's bytes belong to another one now, and lie elsewhere unless it has the same size. */
function moved(from, to) {
  const all = inside.get(from);
  if (all === undefined || from === to) return;
  inside.delete(from);
  inside.set(to, all);
  for (const entry of all) {
    const { watched } = entry;
    const length = Math.min(watched.length, Math.max(to.byteLength - watched.offset, 0));
    entry.value = watched.offset === 0 ? to : new Uint8Array(to, Math.min(watched.offset, to.byteLength), length);
    if (watched.variable !== undefined && (length !== watched.length || binding.memoryVariable(watched.region) === undefined))
      renew(watched, to, watched.offset, length);
  }
}

function lead(owner, name, after) {
  const property = Object.getOwnPropertyDescriptor(owner, name);
  const key = property?.get ? 'get' : 'value';
  if (typeof property?.[key] !== 'function' || !property.configurable) return;
  const led = binding.around(property[key], undefined, after);
  for (const shown of ['name', 'length']) Object.defineProperty(led, shown, { value: property[key][shown], configurable: true });
  Object.defineProperty(owner, name, { ...property, [key]: led });
}

let bufferOf;

function install() {
  if (installed) return;
  installed = true;
  lead(ArrayBuffer.prototype, 'resize', resized);
  for (const name of ['transfer', 'transferToFixedLength']) lead(ArrayBuffer.prototype, name, moved);
  if (typeof SharedArrayBuffer === 'function') lead(SharedArrayBuffer.prototype, 'grow', resized);
}

function installWasm() {
  if (bufferOf !== undefined) return;
  bufferOf = Object.getOwnPropertyDescriptor(WebAssembly.Memory.prototype, 'buffer').get;
  lead(WebAssembly.Memory.prototype, 'grow', resized);
  // where WebAssembly itself has grown it, who wants the buffer shows it
  lead(WebAssembly.Memory.prototype, 'buffer', resized);
}

/** `value` is watched, in `buffer`. */
function follow(value, buffer, watched) {
  install();
  if (isWasmMemory(value)) installWasm();
  const owner = isWasmMemory(value) ? value : buffer;
  const all = (inside.get(owner) ?? []).filter((entry) => entry.watched.variable !== undefined);
  inside.set(owner, [...all, { value, watched }]);
}

module.exports = { follow };
