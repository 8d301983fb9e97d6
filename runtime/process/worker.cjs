// A script processor in JavaScript: reads events (lines of JSON) from descriptor 3 and answers each on descriptor 4
// before it begins the next one, so that the collector knows which event main() is busy with. Node 14 and later.
//
// argv: the processor's file, its arguments.
'use strict';
const fs = require('fs');
const path = require('path');
const url = require('url');
const crypto = require('crypto');

const EVENTS = 3;
const REPLIES = 4;
const LONGEST_REPLY = 1 << 20;
const file = process.argv[1];

const PLAIN = new Map([['pass', Buffer.from('{"action":"pass"}\n')], ['drop', Buffer.from('{"action":"drop"}\n')]]);
const MEMBERS = new Map([['annotate', 'annotations'], ['enrich', 'extra']]);

function send(buffer) {
  for (let done = 0; done < buffer.length;) done += fs.writeSync(REPLIES, buffer, done);
}

function described(error) {
  let text;
  try {
    text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  } catch {
    text = '?';
  }
  const stack = error instanceof Error ? String(error.stack) : '';
  const at = stack.indexOf(file + ':');
  const line = at < 0 ? '' : ` (${path.basename(file)}:${parseInt(stack.slice(at + file.length + 1), 10)})`;
  return text.slice(0, 500) + line;
}

function failure(error) {
  return Buffer.from(JSON.stringify({ error: described(error) }) + '\n');
}

async function load() {
  const loaded = /\.c?js$/.test(file) ? await loadAny() : await import(url.pathToFileURL(file));
  const module = loaded.default && typeof loaded.default === 'object' ? { ...loaded.default, ...loaded } : loaded;
  const main = module.main || (typeof loaded.default === 'function' ? loaded.default : undefined);
  if (typeof main !== 'function') throw new TypeError('it exports no function main(event)');
  return main;
}

async function loadAny() {
  try {
    return require(file);
  } catch (error) {
    if (error.code !== 'ERR_REQUIRE_ESM' && !(error instanceof SyntaxError)) throw error;
    return import(url.pathToFileURL(file));
  }
}

const identities = new Map();
function identity(sql) {
  const key = JSON.stringify([sql.driver, sql.database, sql.statement]);
  let id = identities.get(key);
  if (id === undefined) {
    if (identities.size > 1024) identities.clear();
    id = crypto.createHash('sha256').update(key).digest('hex').slice(0, 16);
    identities.set(key, id);
  }
  return id;
}

function answerFor(reply) {
  const action = reply !== null && typeof reply === 'object' ? reply.action : reply;
  const plain = PLAIN.get(action);
  if (plain !== undefined) return plain;
  const member = MEMBERS.get(action);
  if (member === undefined) throw new TypeError('main(event) returned no action: pass, drop, annotate or enrich');
  const content = typeof reply === 'object' ? reply[member] : undefined;
  if (content === undefined || content === null) return PLAIN.get('pass');
  const answer = Buffer.from(JSON.stringify({ action, [member]: content }) + '\n');
  if (answer.length > LONGEST_REPLY) throw new RangeError('the reply is longer than 1 MiB');
  return answer;
}

function parsed(line) {
  const event = JSON.parse(line);
  event.ts_ns = event.timestamp_ns;
  event.symbol = event.function;
  event.tid = event.thread_id;
  event.variable_ids = [event.variable_id];
  event.sql_context_id = event.sql_context && identity(event.sql_context);
  return event;
}

async function work() {
  let main;
  try {
    main = await load();
  } catch (error) {
    send(failure(error));
    return;
  }
  send(Buffer.from('{"ready":true}\n'));
  const block = Buffer.allocUnsafe(1 << 18);
  let rest = Buffer.alloc(0);
  for (;;) {
    const got = fs.readSync(EVENTS, block, 0, block.length, null);
    if (got === 0) return;
    const data = rest.length > 0 ? Buffer.concat([rest, block.subarray(0, got)]) : block.subarray(0, got);
    let start = 0;
    for (let end; (end = data.indexOf(10, start)) >= 0; start = end + 1) {
      let answer;
      try {
        let reply = main(parsed(data.toString('utf8', start, end)));
        if (reply !== null && typeof reply === 'object' && typeof reply.then === 'function') reply = await reply;
        answer = answerFor(reply);
      } catch (error) {
        answer = failure(error);
      }
      send(answer);
    }
    rest = Buffer.from(data.subarray(start));
  }
}

// A timer of the processor must not keep a worker alive that is not needed any more.
work().then(() => process.exit(), () => process.exit(1));
