// What boot.cjs leaves for programs that load us, or workers, or may import us: once a thread, when it is needed.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });
const binding = process._linkedBinding('watcher');
const Module = module.constructor;

const OURS = 'watcher';

let followed = false;

/** A worker with an environment or arguments of its own is told of us anew. */
function followWorkers() {
  if (followed) return;
  followed = true;
  const own = binding.ownOption();
  const threads = require('worker_threads');
  const withUs = (options) => {
    if (options === null || typeof options !== 'object') return options;
    const { env, execArgv } = options;
    const ownEnv = env !== null && typeof env === 'object'; // process.env, too, is copied then: without us
    if (!ownEnv && !Array.isArray(execArgv)) return options;
    if (typeof env === 'symbol') return options;
    const base = ownEnv ? env : process.env;
    const had = base.NODE_OPTIONS;
    return { ...options, env: { ...base, NODE_OPTIONS: had !== undefined ? `${own} ${had}` : own } };
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

/** OpenTelemetry is there: its spans are followed where something is watched. */
function expectSpans() {
  binding.traced = true;
  if (binding.active) require('./spans.cjs').follow();
}

/** require('watcher'): the application's own package wins. `request` is what `original` was called with. */
function resolve(original, request) {
  if (request[0] !== OURS) return void expectSpans();
  try {
    original.apply(Module, request);
    return undefined;
  } catch (error) {
    return error?.code === 'MODULE_NOT_FOUND' ? [`${__dirname}/watcher.cjs`, ...request.slice(1)] : undefined;
  }
}

function urlOf(file) {
  return require('url').pathToFileURL(`${__dirname}/${file}`).href;
}

/** import 'watcher', likewise. Before 22.15 hooks live in a thread of their own, which costs 50 ms. */
function resolveForImport() {
  const { register, registerHooks } = require('module');
  if (typeof registerHooks === 'function') {
    registerHooks({
      resolve(specifier, context, next) {
        if (specifier === 'worker_threads' || specifier === 'node:worker_threads') followWorkers();
        if (specifier !== OURS) return next(specifier, context);
        try {
          return next(specifier, context);
        } catch (error) {
          if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error;
          return { url: urlOf('watcher.mjs'), format: 'module', shortCircuit: true };
        }
      },
    });
  } else if (typeof register === 'function' && typeof SharedArrayBuffer === 'function' && typeof Atomics === 'object' && binding.startHooks()) {
    register(urlOf('resolve.mjs'), { data: { url: urlOf('watcher.mjs') } });
  }
}

const US = 1;
const IMPORTS = 2;
const IMPORTS_WORKERS = 4;

/** What a main script says of us that is not the file of its name. Where it cannot be known, it may do all but name us. */
function mentionsBehind(main, said) {
  try {
    const path = require('path').resolve(main); // a module loaded first may have changed the folder
    const found = Module._findPath(path);
    // nothing runs; but `-` is standard input, and options can name what does run
    if (found === false && main !== '-' && process.execArgv.length === 0 && !process.env.NODE_OPTIONS) return 0;
    return said(path) ?? said(found) ?? IMPORTS + IMPORTS_WORKERS;
  } catch {
    return IMPORTS + IMPORTS_WORKERS;
  }
}

/** Before the program, where it is not known to be none of our business. Loading worker_threads costs up to 3 ms: a program
    that cannot import it pays when it loads it. */
function begin(preloaded, followWorkersWhenUsed, known, said) {
  // the user's modules have no business in a thread that is there for us
  if (binding.inOurHooks() && require('worker_threads').parentPort === null) preloaded.length = 0;
  const asked = binding.asked();
  const mentions = known ?? mentionsBehind(process.argv[1], said);
  const mentioned = asked || (mentions & US) !== 0;
  const early = typeof require('module').registerHooks === 'function';
  // hooks of `import` show in the stack traces of modules that are not found, and cost time
  const hooked = mentioned || (early && (mentions & IMPORTS) !== 0);
  if (hooked) resolveForImport();
  if (hooked ? !early : (mentions & IMPORTS_WORKERS) !== 0) followWorkers();
  if (!hooked) followWorkersWhenUsed();
  if (mentioned) require('./activate.cjs').activate();
  if (binding.hasRules()) require('./load_hooks.cjs').watchNames();
  if (asked && binding.option('track_sql') === 'true') require('./load_hooks.cjs').watchStatements();
}

module.exports = { begin, followWorkers, resolve };
