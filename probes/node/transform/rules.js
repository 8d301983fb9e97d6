// Which names the configuration wants: the same globs, scopes and qualified names as for Python (rules.cpp).
'use strict';

function globExpression(glob) {
  let text = '';
  for (let i = 0; i < glob.length; ++i) {
    const c = glob[i];
    if (c === '*') text += '.*';
    else if (c === '?') text += '.';
    else if (c === '[' && glob.indexOf(']', i + 2) > 0) {
      const end = glob.indexOf(']', i + 2);
      const set = glob.slice(i + 1, end).replace(/\\/g, '\\\\');
      text += '[' + (set[0] === '!' ? '^' + set.slice(1) : set) + ']';
      i = end;
    } else text += c.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  }
  return new RegExp('^' + text + '$', 's');
}

const kAnyLocal = {};

class RuleSet {
  /// `rules`: [{ name, scope: 'local' | 'global' | 'both' | 'unknown' }]; `allLocals`: the option track_locals.
  constructor(rules, allLocals = false) {
    this.allLocals = allLocals && rules.length > 0;
    this.rules = rules.map((rule) => ({
      ...rule,
      dotted: rule.name.includes('.'),
      expression: globExpression(rule.name),
    }));
  }

  /// The rule that names the variable, else undefined. `functions`: the qualified name of the function that binds it,
  /// '' for a global.
  match(name, functions, isGlobal) {
    const qualified = functions ? functions + '.' + name : name;
    const found = this.rules.find(
      (rule) =>
        rule.scope !== (isGlobal ? 'local' : 'global') &&
        (rule.dotted ? functions !== '' && rule.expression.test(qualified) : rule.expression.test(name)),
    );
    return found || (this.allLocals && !isGlobal ? kAnyLocal : undefined);
  }

  /// A property by its written path: `Class.field`, `exports.name`, `config.retries`.
  matchProperty(path) {
    const open = path.replace('.#', '.');
    return this.rules.find((rule) => rule.dotted && (rule.expression.test(path) || rule.expression.test(open)));
  }

  /// False only when no name of this source can be wanted: parsing costs more than all the rest.
  mayOccur(source) {
    if (this.allLocals) return true;
    return this.rules.some((rule) => {
      const last = rule.name.slice(rule.name.lastIndexOf('.') + 1);
      const literals = last.split(/\[[^\]]*\]|[*?]/).filter(Boolean);
      return source.includes('\\u') || literals.every((part) => source.includes(part));
    });
  }
}

module.exports = { RuleSet };
