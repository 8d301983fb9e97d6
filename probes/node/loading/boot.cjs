// Loaded by node before the program, in the main thread and in every worker, by an option of ours in NODE_OPTIONS. Makes
// `watcher` resolvable and leaves no trace; everything else happens when it is asked for.
'use strict';
const binding = process._linkedBinding('watcher');
const Module = module.constructor; // require('module') loads more than that

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
  // a copy: node still goes through the list itself
  if (Array.isArray(preloaded) && preloaded[0] === __filename)
    Object.defineProperty(process, '_preload_modules', { value: preloaded.slice(1) });
  // the user's modules have no business in a thread that is there for us
  if (binding.inOurHooks() && require('worker_threads').parentPort === null) preloaded.length = 0;
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
    construct(target, [file, options, ...rest], as) {
      const told = withUs(options);
      const had = process.env.NODE_OPTIONS;
      // options of the whole process are refused in a worker, but where the text is its maker's
      const copied = told !== options && had && told.env.NODE_OPTIONS === `${own} ${had}`;
      if (copied) process.env.NODE_OPTIONS = told.env.NODE_OPTIONS;
      try {
        return Reflect.construct(target, [file, told, ...rest], as === threads.Worker ? target : as);
      } finally {
        if (copied) process.env.NODE_OPTIONS = had;
      }
    },
  });
  require('module').syncBuiltinESMExports();
}

/** By owner: the object behind it that has the originals. */
const behind = new Map();

/** Stack traces name a function by the property that holds it. */
function keepName(owner, name, original) {
  if (!behind.has(owner)) {
    behind.set(owner, Object.create(Object.getPrototypeOf(owner)));
    Object.setPrototypeOf(owner, behind.get(owner));
  }
  const originals = behind.get(owner);
  if (!Object.prototype.hasOwnProperty.call(originals, name)) originals[name] = original;
}

/** owner[name] with `before(...arguments)` in front and `after(this, result)` behind, unseen by stack traces; gives the original. */
binding.lead = function lead(owner, name, before, after) {
  const original = owner[name];
  const led = binding.around(original, before, after);
  for (const key of ['name', 'length']) Object.defineProperty(led, key, { value: original[key], configurable: true });
  keepName(owner, name, original);
  owner[name] = led;
  return original;
};

/** OpenTelemetry is there: its spans are followed where something is watched. */
function expectSpans() {
  binding.traced = true;
  if (binding.active) require('./spans.cjs').follow();
}

/** require('watcher'): the application's own package wins. */
function resolveForRequire() {
  const resolve = binding.lead(Module, '_resolveFilename', (request, ...rest) => {
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
  const { register, registerHooks } = require('module');
  const url = require('url').pathToFileURL(require('path').join(__dirname, 'watcher.mjs')).href;
  if (typeof registerHooks === 'function') {
    registerHooks({
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
  } else if (typeof register === 'function' && typeof SharedArrayBuffer === 'function') {
    binding.startHooks();
    register(require('url').pathToFileURL(require('path').join(__dirname, 'resolve.mjs')).href, { data: { url } });
  }
}

/** What the main script says of us: 1, a text `watcher`; 2, a word `import`. Where it cannot be known, it may do either later. */
function mentions() {
  const source = process._eval ?? '';
  if (source !== '') return (/['"`]watcher['"`]/.test(source) ? 1 : 0) + (/\bimport\b/.test(source) ? 2 : 0);
  const main = process.argv[1];
  if (main === undefined) return 2;
  const path = require('path').resolve(main); // a module loaded first may have changed the folder
  const said = binding.mentions(path);
  if (said !== undefined) return said;
  try {
    return binding.mentions(Module._findPath(path)) ?? 2;
  } catch {
    return 2;
  }
}

/** Loading that module costs up to 3 ms: a program that is none of our business pays when it does so itself. */
function followWorkersWhenUsed(own) {
  binding.lead(Module, '_load', (request) => {
    if (request === 'worker_threads' || request === 'node:worker_threads') followWorkers(own);
  });
}

const own = leaveNoTrace();
resolveForRequire();
const asked = binding.asked();
const said = mentions();
const mentioned = asked || (said & 1) !== 0;
// hooks of `import` show in the stack traces of modules that are not found, and cost time
if (mentioned || (said & 2) !== 0) {
  const early = typeof require('module').registerHooks === 'function';
  if (!early) followWorkers(own);
  if (early || mentioned) resolveForImport(own);
} else followWorkersWhenUsed(own);
if (mentioned) require('./activate.cjs').activate();
if (binding.hasRules()) require('./load_hooks.cjs').watchNames();
if (asked && binding.option('track_sql') === 'true') require('./load_hooks.cjs').watchStatements();
