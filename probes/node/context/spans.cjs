// The span of OpenTelemetry that a thread runs in: read from the async context that the API's context manager keeps,
// shown to native code as bytes of this thread, so that a fault handler has it too. No code of the API's or of the
// program's is called.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { AsyncLocalStorage, createHook } = require('async_hooks');
const { isMap, isProxy } = require('util').types;
const binding = process._linkedBinding('watcher');

const kApi = Symbol.for('opentelemetry.js.api.1');
const kSpan = Symbol.for('OpenTelemetry Context Key SPAN');
const kNone = new Uint8Array(32);
const { getStore } = AsyncLocalStorage.prototype;
const mapGet = Map.prototype.get;
const setBytes = Uint8Array.prototype.set;
const bytesOfSpan = new WeakMap();
const outer = [];
let shown = null; // the thread's bytes
let storage = null; // the context manager's

/** A property that is a plain value of the object itself. */
function own(object, key) {
  if (object === null || typeof object !== 'object' || isProxy(object)) return undefined;
  return Object.getOwnPropertyDescriptor(object, key)?.value;
}

/** Another manager may have taken its place. */
function isManagers(contexts) {
  if (contexts !== storage) storage = own(own(own(globalThis, kApi), 'context'), '_asyncLocalStorage') ?? null;
  return contexts === storage;
}

function readSpan(span) {
  const numbers = own(span, '_spanContext');
  const traceId = own(numbers, 'traceId');
  const spanId = own(numbers, 'spanId');
  const flags = own(numbers, 'traceFlags');
  const ids = `${typeof traceId === 'string' ? traceId : ''}-${typeof spanId === 'string' ? spanId : ''}`;
  if (!/^(?!0+-)[0-9a-f]{32}-(?!0+$)[0-9a-f]{16}$/.test(ids)) return kNone;
  return Uint8Array.from([...Buffer.from(ids.replace('-', ''), 'hex'), typeof flags === 'number' ? flags & 255 : 0, 1, 0, 0, 0, 0, 0, 0]);
}

function bytesOf(context) {
  const values = own(context, '_currentContext');
  const span = isMap(values) ? mapGet.call(values, kSpan) : undefined;
  if (span === null || typeof span !== 'object') return kNone;
  let bytes = bytesOfSpan.get(span);
  if (bytes === undefined) bytesOfSpan.set(span, (bytes = readSpan(span)));
  return bytes;
}

const show = (bytes) => setBytes.call(shown, bytes);

function showCurrent() {
  show(storage !== null ? bytesOf(getStore.call(storage)) : kNone);
}

/** `see(self, context)` in front of a method of all async contexts. */
function lead(name, see, inSpan) {
  const { prototype } = AsyncLocalStorage;
  const original = prototype[name];
  const led = binding.around(
    original,
    function (context) {
      if (isManagers(this)) see(context);
    },
    undefined,
    inSpan,
  );
  for (const key of ['name', 'length']) Object.defineProperty(led, key, { value: original[key], configurable: true });
  Object.defineProperty(prototype, name, { ...Object.getOwnPropertyDescriptor(prototype, name), value: led });
}

/** Once a thread. */
function follow() {
  if (shown !== null) return;
  const bytes = binding.spanBytes();
  if (bytes === undefined) return;
  shown = new Uint8Array(bytes);
  lead('run', (context) => show(bytesOf(context)), true);
  lead('enterWith', (context) => show(bytesOf(context)), false);
  lead('disable', () => show(kNone), false);
  createHook({
    before() {
      outer.push(shown.slice());
      showCurrent();
    },
    after() {
      show(outer.pop() ?? kNone);
    },
  }).enable();
  isManagers(undefined);
  showCurrent();
}

module.exports = { follow };
