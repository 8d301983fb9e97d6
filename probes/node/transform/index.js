// The load-time transform of one source file; bundled into transform.cjs.
'use strict';

const { RuleSet } = require('./rules.js');
const { parse } = require('./tree.js');
const { Transform, kMark } = require('./transform.js');
const { originalPositions } = require('./positions.js');

/// Returns the source with hooks, or null when nothing in it is to be watched (or it cannot be parsed: then the
/// engine's own error is the right one).
///   file        the path as events show it
///   sourceType  'module' or 'commonjs'; null: whichever it is
///   rulesFor    path → [{ name, scope, … }]
///   remember    is told the new text and its edits
///   makeSite    { name, scope, owner, function, file, line, rule } → a number that the hooks are called with
function transform(source, { file, sourceType, rulesFor, makeSite, remember, allLocals = false }) {
  const positions = originalPositions(source, file);
  const files = [file, ...(positions ? positions.files : [])];
  const rules = new RuleSet(files.flatMap((name) => rulesFor(name)), allLocals);
  if (rules.rules.length === 0 || !rules.mayOccur(source) || source.includes(kMark)) return null;
  const tree = (sourceType !== 'module' && parse(source, 'commonjs')) || (sourceType !== 'commonjs' && parse(source, 'module'));
  if (!tree) return null;
  const transformed = new Transform(source, tree, rules, (subject, functions, start) => {
    const place = (positions && positions.at(start)) || { file, line: start.line };
    return makeSite({
      name: subject.name,
      scope: subject.isGlobal ? 'global' : 'local',
      owner: subject.functions ? `${place.file}\n${subject.functions}` : place.file,
      function: functions,
      file: place.file,
      line: place.line,
      rule: subject.rule,
    });
  });
  const text = transformed.run();
  if (text !== null) remember?.(text, transformed.edits());
  return text;
}

module.exports = { transform };
