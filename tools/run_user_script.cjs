// Runs main() of a user script: node run_user_script.cjs OUTCOME SCRIPT [ARGUMENTS...]
//
// Started by watcher-exec. The script is a module of its own, CommonJS or ESM; `require.main` is this file. When an
// exception ends it, the file OUTCOME says so.
'use strict';

const fs = require('fs');
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

function load() {
  try {
    return require(script);
  } catch (error) {
    if (!error || (error.code !== 'ERR_REQUIRE_ESM' && error.code !== 'ERR_REQUIRE_ASYNC_MODULE')) throw error;
    return import(pathToFileURL(script).href);
  }
}

function call(exported) {
  const holder = [exported, exported && exported.default].find((each) => each && typeof each.main === 'function');
  if (!holder) refuse(`${script}: there is no function main; write module.exports = { main } or export function main`);
  if (holder.main.length > 1)
    refuse(`${script}: main cannot be called: it needs ${holder.main.length} arguments; write main() or main(args)`);
  return holder.main(...(holder.main.length === 1 ? [commandLine] : []));
}

const loaded = load();
if (loaded instanceof Promise) loaded.then(call);
else call(loaded);
