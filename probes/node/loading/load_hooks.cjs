// Sends the source of files that have rules through the transform, on its way from the loader to the compiler.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const Module = require('module');
const { fileURLToPath, pathToFileURL } = require('url');
const path = require('path');
const binding = process._linkedBinding('watcher');
if (binding.start === undefined) binding.complete();

let transform;
let texts; // texts.cjs, where the program runs
let drivers; // sql_drivers.cjs, once statements are asked for
const wanted = { rules: false, hooked: false };
const ruleTable = new Map();

function rulesFor(file) {
  if (!ruleTable.has(file)) ruleTable.set(file, binding.rules(file));
  return ruleTable.get(file);
}

/// The number under which native code knows a site; its rule's terms go with the variable.
function makeSite({ name, scope, owner, function: functions, file, line, rule }) {
  const { when = '', sample = 1, maxPerSecond = 0 } = rule ?? {};
  return binding.site(name, scope, owner, functions, file, line, when, sample, maxPerSecond);
}

const kMapReference = 'sourceMappingURL=';

function loadTransform() {
  const { transform: loaded } = require('./transform.cjs');
  Object.defineProperty(require.cache, require.resolve('./transform.cjs'), { enumerable: false });
  return loaded;
}

/// The text to run instead; null when this one is to be left alone.
function instrumented(source, file, sourceType) {
  if (file.startsWith(__dirname) || (rulesFor(file).length === 0 && !source.includes(kMapReference))) return null;
  transform ??= loadTransform();
  try {
    const remember = (text, edits) => texts?.remember(file, text, edits);
    return transform(source, { file, sourceType, rulesFor, makeSite, remember, allLocals: binding.option('track_locals') === 'true' });
  } catch (error) {
    binding.log(2, `${file} is not watched: its transform failed (${error.message})`);
    return null;
  }
}

function instrumentedArguments(content, file, ...rest) {
  if (typeof content !== 'string' || typeof file !== 'string') return undefined;
  const text = instrumented(content, file, rest[0] === 'module' ? 'module' : null);
  return text === null ? undefined : [text, file, ...rest];
}

function hookCommonJs() {
  binding.lead(Module.prototype, '_compile', wanted.rules ? instrumentedArguments : () => undefined, (module) => drivers?.leadModule(module));
}

/// A module's source as the loader has it, and what is to run instead.
function loadedModule(url, result) {
  if (result.format !== 'module' || result.source == null || !url.startsWith('file:')) return result;
  const text = instrumented(Buffer.from(result.source).toString('utf8'), fileURLToPath(url), 'module');
  return text === null ? result : { ...result, source: text };
}

/// Before 22.15 hooks of modules live in a thread of their own.
function hookModules() {
  if (typeof Module.registerHooks === 'function')
    Module.registerHooks({ load: (url, context, next) => loadedModule(url, next(url, context)) });
  else if (typeof Module.register === 'function' && typeof SharedArrayBuffer === 'function' && typeof Atomics === 'object' && binding.startHooks())
    Module.register(pathToFileURL(path.join(__dirname, 'load_modules.mjs')).href);
}

function hookLoaders() {
  if (!wanted.hooked) hookCommonJs();
  wanted.hooked = true;
}

/// Once a thread, before the program, where rules name variables.
function watchNames() {
  wanted.rules = true;
  require('./hooks.cjs').install(binding);
  texts = require('./texts.cjs');
  texts.install();
  hookLoaders();
  hookModules();
}

/// From now on events have the SQL statement that they happen under. Drivers that are loaded are led, too.
function watchStatements() {
  if (drivers !== undefined) return;
  drivers = require('./sql_drivers.cjs');
  hookLoaders();
  for (const module of Object.values(require.cache)) if (module.loaded) drivers.leadModule(module);
  let asked;
  binding.lead(Module, '_load', (request) => void (asked = request), (_, exports) => {
    const name = asked;
    asked = undefined;
    if (typeof name === 'string') drivers.leadBuiltin(name, exports);
  });
  if (process.moduleLoadList?.includes('NativeModule sqlite')) drivers.leadBuiltin('sqlite', require('node:sqlite'));
  if (typeof Module.registerHooks === 'function') Module.registerHooks({ resolve: leadImported });
}

/// A built-in module that is imported passes no function of ours; required first, it does.
function leadImported(specifier, context, next) {
  const resolved = next(specifier, context);
  if (specifier === 'node:sqlite' && !context.conditions?.includes('require')) require('node:sqlite');
  return resolved;
}

module.exports = { watchNames, watchStatements, loadedModule };
