// Loaded by node before the program, in the main thread and in every worker, by an option of ours in NODE_OPTIONS. Makes
// `watcher` resolvable and leaves no trace; everything else is follow.cjs, for node compiles this file at every start.
'use strict';
const binding = process._linkedBinding('watcher');
const Module = module.constructor; // require('module') loads more than that
const { env, argv, execArgv, _eval, _preload_modules: preloaded } = process;

// what the program sees of NODE_OPTIONS, of the preloaded modules and of the cache is its own
const options = binding.optionsWithoutUs(env.NODE_OPTIONS);
if (options === null) delete env.NODE_OPTIONS;
else if (options !== undefined) env.NODE_OPTIONS = options;
// a copy: node still goes through the list itself
if (preloaded?.[0] === __filename) Object.defineProperty(process, '_preload_modules', { value: preloaded.slice(1) });
delete require.cache[__filename];
const given = execArgv.indexOf(`--require=${__filename}`); // by node's test runner
if (given >= 0) execArgv.splice(given, 1);

let rest;
const follow = () => (rest ??= require('./follow.cjs'));
const resolve = binding.lead(Module, '_resolveFilename', (...request) => follow().resolve(resolve, request), undefined, [
  'watcher',
  '@opentelemetry/api',
]);
const followWorkers = () =>
  binding.lead(Module, '_load', () => follow().followWorkers(), undefined, ['worker_threads', 'node:worker_threads']);
const said = (main, text) => binding.mentions(text, main, `${execArgv} ${env.NODE_OPTIONS}`);
const mentions = said(argv[1], _eval);
if (binding.isInert(mentions)) followWorkers();
else follow().begin(preloaded, followWorkers, mentions, said);
