// Which SQL statement a flow of asynchronous calls executes: begun where a driver's method is called, kept by the async
// context, shown to native code as one reference a thread, so that a fault handler has it too.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { AsyncLocalStorage, createHook } = require('async_hooks');
const { describe, isPlain } = require('./describe.cjs');
const binding = process._linkedBinding('watcher');

const kSecret = /passw|passphrase|secret|token|api_?key|credential|private_key|auth|ssn/i;
const records = binding.option('sql_params') === 'record';
const storage = new AsyncLocalStorage();
const outer = [];
let current = 0;
let hook = null;

function show(statement) {
  if (statement === current) return;
  current = statement;
  binding.setSql(statement);
}

function follow() {
  hook ??= createHook({
    before() {
      outer.push(current);
      show(storage.getStore()?.statement ?? 0);
    },
    after() {
      show(outer.pop() ?? 0);
    },
  }).enable();
}

/// A store is { statement }: what is begun inside a call that share() opened is the caller's statement, too.
function enter(store) {
  follow();
  storage.enterWith(store);
  show(store.statement);
}

/// What a library's method executes behind several awaits belongs to the flow that calls it.
const share = () => enter({ statement: storage.getStore()?.statement ?? 0, isShared: true });

/// A value as parameters show it; what is named like a secret is left out.
function shownParam(value, hidden) {
  if (hidden) return '***';
  return typeof value === 'string' ? JSON.stringify(value) : isPlain(value) ? `${value}` : describe(value)[0];
}

function shownParams(text, values) {
  if (!records || values === undefined || values === null || values.length === 0) return '';
  if (isPlain(values)) return `[${shownParam(values, kSecret.test(text))}]`;
  if (Array.isArray(values)) return `[${values.map((value) => shownParam(value, kSecret.test(text))).join(', ')}]`;
  const pairs = Object.entries(Object.getOwnPropertyDescriptors(values)).filter(([, own]) => 'value' in own);
  return `{${pairs.map(([key, own]) => `${key}: ${shownParam(own.value, kSecret.test(key))}`).join(', ')}}`;
}

/// The flow that runs executes this from now on.
function begin(driver, text, database, values) {
  if (typeof text !== 'string' || text === '') return 0;
  const statement = binding.sqlStatement(driver, text, typeof database === 'string' ? database : '', shownParams(text, values));
  const store = storage.getStore();
  if (store?.isShared) store.statement = statement;
  enter(store?.isShared ? store : { statement });
  return statement;
}

/// A callback that goes on under the statement that it belongs to.
const under = (statement, callback) => binding.around(callback, () => enter({ statement }));

module.exports = { begin, under, share };
