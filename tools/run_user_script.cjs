// Runs main() of a user script: node run_user_script.cjs OUTCOME SCRIPT [ARGUMENTS...]
//
// Started by watcher-exec. The script is a module of its own, CommonJS or ESM; `require.main` is this file. When an
// exception ends it, the file OUTCOME says so.
'use strict';

const fs = require('fs');
const path = require('path');
const { pathToFileURL } = require('url');

const [outcome, script, ...commandLine] = process.argv.slice(2);
process.argv.splice(1, process.argv.length, script, ...commandLine);
process.on('uncaughtExceptionMonitor', () => {
  try {
    fs.writeFileSync(outcome, '402\n');
  } catch {
    // the directory is gone, or no longer ours to write to: the status says 1
  }
});

function refuse(sentence) {
  fs.writeSync(2, `watcher-exec: ${sentence}\n`);
  process.exit(2);
}

/** As node tells them apart; a module is imported, because hooks of `import` do not see a require before node 22.15. */
function isModule(file) {
  if (!file.endsWith('.js')) return file.endsWith('.mjs');
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const description = path.join(folder, 'package.json');
    if (fs.existsSync(description)) return JSON.parse(fs.readFileSync(description, 'utf8')).type === 'module';
    if (folder === path.dirname(folder)) return false;
  }
}

/** A module in a file that is not named so says by its syntax, or by its imports, that it is one. */
function turnedOutModule(error, file) {
  if (error?.code === 'ERR_REQUIRE_ESM' || error?.code === 'ERR_REQUIRE_ASYNC_MODULE') return true;
  return error?.code === 'ERR_MODULE_NOT_FOUND' && error.message.includes(`imported from ${file}`);
}

function load() {
  const file = fs.realpathSync(script);
  if (isModule(file)) return import(pathToFileURL(file).href);
  try {
    return require(file);
  } catch (error) {
    if (!turnedOutModule(error, file)) throw error;
    return import(pathToFileURL(file).href);
  }
}

let result; // what main() returns lives as long as the program

function call(exported) {
  const holder = [exported, exported && exported.default].find((each) => each && typeof each.main === 'function');
  if (!holder) refuse(`${script}: there is no function main; write module.exports = { main } or export function main`);
  if (holder.main.length > 1)
    refuse(`${script}: main cannot be called: it needs ${holder.main.length} arguments; write main() or main(args)`);
  result = holder.main(...(holder.main.length === 1 ? [commandLine] : []));
  return result;
}

const loaded = load();
if (loaded instanceof Promise) loaded.then(call);
else call(loaded);
