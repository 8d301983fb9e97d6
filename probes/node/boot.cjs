// Loaded by node before the program, in the main thread and in every worker, by an option of ours in NODE_OPTIONS. Makes
// `watcher` resolvable and leaves no trace; everything else happens when it is asked for.
'use strict';
const binding = process._linkedBinding('watcher');
const Module = require('module');

const OURS = 'watcher';
const API = require('path').join(__dirname, 'watcher.cjs');

/** What the program sees of NODE_OPTIONS, of the preloaded modules and of the cache is its own. */
function leaveNoTrace() {
  const own = `--require "${__filename.replace(/[\\"]/g, '\\$&')}"`;
  const seen = process.env.NODE_OPTIONS;
  if (seen !== undefined && seen.startsWith(own)) {
    const rest = seen.slice(own.length + 1);
    if (rest === '' && binding.userOptions() === undefined) delete process.env.NODE_OPTIONS;
    else process.env.NODE_OPTIONS = rest;
  }
  const preloaded = process._preload_modules;
  if (Array.isArray(preloaded) && preloaded[0] === __filename) preloaded.shift();
  delete require.cache[__filename];
  return own;
}

let followed = false;

/** A worker with an environment or arguments of its own is told of us anew. */
function followWorkers(own) {
  if (followed) return;
  followed = true;
  const threads = require('worker_threads');
  const withUs = (options) => {
    if (options === null || typeof options !== 'object') return options;
    const { env, execArgv } = options;
    const ownEnv = env !== null && typeof env === 'object' && env !== process.env;
    if (!ownEnv && !Array.isArray(execArgv)) return options;
    if (typeof env === 'symbol') return options;
    const base = ownEnv ? env : process.env;
    const had = base.NODE_OPTIONS;
    return { ...options, env: { ...base, NODE_OPTIONS: had ? `${own} ${had}` : own } };
  };
  const Worker = threads.Worker;
  threads.Worker = new Proxy(Worker, {
    construct: (target, [file, options, ...rest], as) =>
      Reflect.construct(target, [file, withUs(options), ...rest], as === threads.Worker ? target : as),
  });
  Module.syncBuiltinESMExports();
}

/** Module[name] with `before(...arguments)` in front, unseen by stack traces. */
function lead(name, before) {
  const original = Module[name];
  const led = binding.around(original, before);
  for (const key of ['name', 'length']) Object.defineProperty(led, key, { value: original[key], configurable: true });
  Module[name] = led;
  return original;
}

/** OpenTelemetry is there: its spans are followed where something is watched. */
function expectSpans() {
  binding.traced = true;
  if (binding.active) require('./spans.cjs').follow();
}

/** require('watcher'): the application's own package wins. */
function resolveForRequire() {
  const resolve = lead('_resolveFilename', (request, ...rest) => {
    if (request === '@opentelemetry/api' && !binding.traced) expectSpans();
    if (request !== OURS) return undefined;
    try {
      resolve.call(Module, request, ...rest);
      return undefined;
    } catch (error) {
      return error?.code === 'MODULE_NOT_FOUND' ? [API, ...rest] : undefined;
    }
  });
}

/** import 'watcher', likewise. Before 22.15 hooks live in a thread of their own, which costs 50 ms. */
function resolveForImport(own) {
  const url = require('url').pathToFileURL(require('path').join(__dirname, 'watcher.mjs')).href;
  if (typeof Module.registerHooks === 'function') {
    Module.registerHooks({
      resolve(specifier, context, next) {
        if (specifier === 'worker_threads' || specifier === 'node:worker_threads') followWorkers(own);
        if (specifier !== OURS) return next(specifier, context);
        try {
          return next(specifier, context);
        } catch (error) {
          if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error;
          return { url, format: 'module', shortCircuit: true };
        }
      },
    });
  } else if (typeof Module.register === 'function') {
    Module.register(require('url').pathToFileURL(require('path').join(__dirname, 'resolve.mjs')).href, { data: { url } });
  }
}

/** The main script's text; empty when it is none that could be read twice: a pipe could not. */
function mainText() {
  const source = process._eval ?? '';
  if (source !== '') return source;
  try {
    const main = process.argv[1];
    if (main === undefined) return '';
    const fs = require('fs');
    const file = Module._findPath(require('path').resolve(main)) || main;
    return fs.statSync(file).isFile() ? fs.readFileSync(file, 'latin1') : '';
  } catch {
    return '';
  }
}

function mentionsUs(text) {
  return /['"`]watcher['"`]/.test(text);
}

/** Loading that module costs up to 3 ms: a program that is none of our business pays when it does so itself. */
function followWorkersWhenUsed(own) {
  lead('_load', (request) => {
    if (request === 'worker_threads' || request === 'node:worker_threads') followWorkers(own);
  });
}

const own = leaveNoTrace();
resolveForRequire();
const text = mainText();
const mentioned = binding.asked() || mentionsUs(text);
// hooks of `import` show in the stack traces of modules that are not found, and cost time
if (mentioned || text === '' || /\bimport\b/.test(text)) {
  if (typeof Module.registerHooks !== 'function') followWorkers(own);
  if (typeof Module.registerHooks === 'function' || mentioned) resolveForImport(own);
} else followWorkersWhenUsed(own);
if (mentioned) require('./activate.cjs').activate();
if (binding.hasRules()) require('./load_hooks.cjs').watchNames();
if (binding.asked() && binding.option('track_sql') === 'true') require('./load_hooks.cjs').watchStatements();
