// Sends the source of files that have rules through the transform, on its way from the loader to the compiler.
'use strict';

const Module = require('module');
const { fileURLToPath, pathToFileURL } = require('url');
const path = require('path');
const binding = process._linkedBinding('watcher');

let transform;
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

/// The text to run instead; null when this one is to be left alone.
function instrumented(source, file, sourceType) {
  if (file.startsWith(__dirname) || (rulesFor(file).length === 0 && !source.includes(kMapReference))) return null;
  transform ??= require('./transform.cjs').transform;
  try {
    return transform(source, { file, sourceType, rulesFor, makeSite, allLocals: binding.option('track_locals') === 'true' });
  } catch (error) {
    binding.log(2, `${file} is not watched: its transform failed (${error.message})`);
    return null;
  }
}

function hookCommonJs() {
  const original = Module.prototype._compile;
  const around = binding.around(original, (content, file, ...rest) => {
    if (typeof content !== 'string' || typeof file !== 'string') return undefined;
    const text = instrumented(content, file, rest[0] === 'module' ? 'module' : null);
    return text === null ? undefined : [text, file, ...rest];
  });
  Object.defineProperty(around, 'name', { value: original.name, configurable: true });
  Object.defineProperty(around, 'length', { value: original.length, configurable: true });
  // stack traces name the original by the property that holds it: one behind the other
  Object.setPrototypeOf(Module.prototype, { __proto__: Object.getPrototypeOf(Module.prototype), _compile: original });
  Module.prototype._compile = around;
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
  else if (typeof Module.register === 'function') Module.register(pathToFileURL(path.join(__dirname, 'load_modules.mjs')).href);
}

function install() {
  require('./hooks.cjs').install(binding);
  hookCommonJs();
  hookModules();
}

module.exports = { install, loadedModule };
