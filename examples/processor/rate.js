// A processor in JavaScript: adds how many events of the same variable there were before.
//
//     watcher-exec --custom-processor rate.js -- python3 app.py
'use strict';

const seen = new Map();

function main(event) {
  const before = seen.get(event.variable_name) || 0;
  seen.set(event.variable_name, before + 1);
  return { action: 'enrich', extra: { earlier: before } };
}

module.exports = { main };
