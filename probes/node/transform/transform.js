// Puts a hook around every store to a wanted name. Lines stay, nothing is added to the module's names: the hooks are
// hidden properties of the global object (hooks.cjs). What a variable held before is the variable itself, read when the
// new value is known: `x = e` becomes `x = watcher$s(e, x, site)`.
'use strict';

const MagicString = require('magic-string').default;
const { inOrder, isFunction, isClass, keyName, qualifiedName, Tokens } = require('./tree.js');
const { Scopes, parametersOf, namesOf, leavesOf } = require('./scopes.js');

const kMark = 'watcher$';

const isPattern = (node) => node.type === 'ObjectPattern' || node.type === 'ArrayPattern';
const isLoopHead = (node) => /^For(In|Of)Statement$/.test(node.parent.type) && node.parent.left === node;

/// The language gives a name to what is written directly behind `x =`; a call around it would take that away.
function isUnnamed(node) {
  if (!node || node.id) return false;
  return /^(FunctionExpression|ArrowFunctionExpression|ClassExpression)$/.test(node.type);
}

const isInParentheses = (target) => target !== undefined && target.start !== target.parent.start;

class Transform {
  constructor(source, tree, rules, makeSite) {
    this.text = new MagicString(source);
    this.source = source;
    this.tree = tree;
    this.tokens = new Tokens(tree.tokens);
    this.rules = rules;
    this.makeSite = makeSite;
    this.scopes = new Scopes(tree, rules);
    this.entries = new Map(); // block → what runs first in it
    this.changed = false;
  }

  run() {
    for (const node of inOrder(this.tree.ast)) {
      const visit = this[node.type];
      if (visit) visit.call(this, node);
      if (isFunction(node)) this.parameters(node);
    }
    for (const [block, texts] of this.entries) this.enter(block, texts.join(''));
    return this.changed ? this.text.toString() : null;
  }

  /// What the new text has in the place of what was written: [start, end, what stood there], in their order.
  edits() {
    const found = [];
    let at = 0;
    const add = (text, was) => {
      if (text !== was) found.push([at, at + text.length, was]);
      at += text.length;
    };
    add(this.text.intro, '');
    for (let chunk = this.text.firstChunk; chunk; chunk = chunk.next) {
      add(chunk.intro, '');
      add(chunk.content, chunk.original);
      add(chunk.outro, '');
    }
    return found;
  }

  site(subject, node) {
    this.changed = true;
    return this.makeSite(subject, qualifiedName(node.parent) || '<module>', node.loc.start);
  }

  // --- what text replaces what

  /// Keeps the name that an unnamed function gets from its target; a target in parentheses gives none.
  named(name, value) {
    const keep = isUnnamed(value) && !isInParentheses(value.parent.left) && name !== '__proto__';
    return keep ? [`{${name}:`, `}.${name}`] : ['', ''];
  }

  /// The operator becomes `= hook(`, the hook's other arguments follow at `end`.
  wrapValue(operator, end, head, value, name, rest) {
    const [open, close] = this.named(name, value);
    this.text.update(operator.start, operator.end, `${head}${open}`);
    this.text.appendLeft(end, `${close}${rest}`);
  }

  /// In front of what may stand directly behind a word: `return++x`, `var{x}=y`.
  prepend(start, text) {
    this.text.prependRight(start, /[\w$]/.test(this.source[start - 1] ?? '') ? ` ${text}` : text);
  }

  before(block, text, put = 'push') {
    if (!this.entries.has(block)) this.entries.set(block, []);
    this.entries.get(block)[put](text);
  }

  enter(block, text) {
    const body = block.body;
    let at = 0;
    while (at < body.length && body[at].directive !== undefined) ++at;
    // a debugger that breaks on start stops at the line of the first statement
    if (at < body.length && (at > 0 || block.type === 'Program')) this.text.appendLeft(body[at].start, text);
    else if (at > 0) this.text.appendLeft(body[at - 1].end, `;${text}`);
    else this.text.appendLeft(this.source.indexOf('{', block.start) + 1, text);
  }

  /// An assignment target that is told: the name is stored to by a setter, when the pattern gets there.
  setter(subject, node) {
    const value = `${kMark}v`;
    return `({set v(${value}){${node.name}=${kMark}s(${value},${node.name},${this.site(subject, node)})}}).v`;
  }

  /// The same of a member of an object, which is asked for once, before the value.
  propertySetter({ subject, object, key }, node) {
    const [value, owner] = [`${kMark}v`, `${kMark}o`];
    const site = this.site(subject, node);
    const told = key[0] === '#' ? `${kMark}s(${value},${key} in ${owner}?${owner}.${key}:void 0,${site})`
      : `${kMark}g(${value},${owner},${JSON.stringify(key)},${site})`;
    return `(${owner}=>({set v(${value}){${owner}.${key}=${told}}}))(${object}).v`;
  }

  bound(subject, node) {
    return `${kMark}b(${node.name},${this.site(subject, node)})`;
  }

  wanted(node) {
    return node.type === 'Identifier' ? this.scopes.wantedAt(node) : null;
  }

  assignable(node) {
    const subject = this.wanted(node);
    return subject && !subject.constant ? subject : null;
  }

  /// A pattern of assignments; true when anything in it is told.
  targets(pattern) {
    let any = false;
    for (const node of leavesOf(pattern)) {
      const found = node.type === 'MemberExpression' && this.propertyAt(node);
      if (found) this.text.update(node.start, node.end, this.propertySetter(found, node));
      any ||= Boolean(found);
      const subject = this.assignable(node);
      if (!subject || subject.undeclared) continue;
      any = true;
      const shorthand = node.parent.type === 'Property' ? node.parent : node.parent.parent;
      const key = shorthand.type === 'Property' && shorthand.shorthand ? `${node.name}:` : '';
      this.text.update(node.start, node.end, key + this.setter(subject, node));
      const value = node.parent;
      if (value.type === 'AssignmentPattern' && value.left === node && isUnnamed(value.right)) {
        const [open, close] = this.named(node.name, value.right);
        const operator = this.tokens.operatorBehind(node.end);
        this.text.update(operator.start, operator.end, `=${open}`);
        this.text.appendLeft(value.end, close);
      }
    }
    return any;
  }

  // --- declarations

  VariableDeclaration(node) {
    if (isLoopHead(node)) return;
    for (const declarator of node.declarations)
      if (isPattern(declarator.id)) this.declaredPattern(node, declarator);
      else if (declarator.init) this.declaredName(node, declarator);
  }

  declaredName(declaration, { id, init, end }) {
    const subject = this.scopes.wantedAt(id);
    if (!subject) return;
    const operator = this.tokens.operatorBehind(id.end);
    const isVar = declaration.kind === 'var';
    const rest = `${isVar ? `,${id.name}` : ''},${this.site(subject, id)})`;
    this.wrapValue(operator, end, `=${kMark}${isVar ? 's' : 'b'}(`, init, id.name, rest);
  }

  declaredPattern(declaration, { id, end }) {
    const names = namesOf(id);
    const wanted = names.filter((name) => this.scopes.wantedAt(name));
    if (wanted.length === 0) return;
    if (declaration.kind === 'var') {
      // the names are declared in front, so that the pattern can be one of assignments
      this.targets(id);
      this.prepend(id.start, `${names.map((name) => name.name).join()},{}=(`);
      this.text.appendLeft(end, ')');
      return;
    }
    const calls = wanted.map((name) => this.bound(this.scopes.wantedAt(name), name));
    this.text.appendLeft(end, `,{}=[${calls.join()}]`);
  }

  loop(node) {
    const { left, body } = node;
    if (left.type !== 'VariableDeclaration') return this.loopTarget(left);
    const names = namesOf(left.declarations[0].id);
    const wanted = names.filter((name) => this.scopes.wantedAt(name));
    if (wanted.length === 0 || left.declarations[0].init) return;
    if (left.kind === 'var') {
      const pattern = left.declarations[0].id;
      this.text.remove(left.start, left.start + 3);
      this.before(this.functionBlock(node), `var ${names.map((name) => name.name).join()};`);
      return this.loopTarget(pattern);
    }
    const calls = wanted.map((name) => this.bound(this.scopes.wantedAt(name), name));
    this.text.appendLeft(body.start, `{${calls.join()};`);
    this.text.appendLeft(body.end, '}');
  }

  loopTarget(left) {
    if (isPattern(left) || left.type === 'MemberExpression') return void this.targets(left);
    const subject = this.assignable(left);
    if (subject && !subject.undeclared) this.text.update(left.start, left.end, this.setter(subject, left));
  }

  ForOfStatement(node) {
    this.loop(node);
  }

  ForInStatement(node) {
    this.loop(node);
  }

  /// Where a `var` of this place may be declared.
  functionBlock(node) {
    let at = node.parent;
    while (at.type !== 'Program' && at.type !== 'StaticBlock' && !isFunction(at)) at = at.parent;
    return isFunction(at) ? at.body : at;
  }

  parameters(node) {
    const told = parametersOf(node, this.scopes).map(([id, subject]) => this.bound(subject, id));
    if (told.length === 0) return;
    if (node.body.type === 'BlockStatement') return this.before(node.body, `${told.join()};`, 'unshift');
    this.text.appendLeft(this.tokens.arrowBefore(node.body.start).end, `(${told.join()},(`);
    this.text.appendLeft(node.end, '))');
  }

  CatchClause(node) {
    const told = namesOf(node.param).map((id) => [id, this.scopes.wantedAt(id)]).filter((pair) => pair[1]);
    if (told.length > 0) this.before(node.body, `${told.map(([id, subject]) => this.bound(subject, id)).join()};`);
  }

  FunctionDeclaration(node) {
    const subject = node.id && this.wanted(node.id);
    const block = /^Export/.test(node.parent.type) ? node.parent.parent : node.parent;
    if (subject && block.body && !isClass(block)) this.before(block, `${this.bound(subject, node.id)};`);
  }

  ClassDeclaration(node) {
    const subject = node.id && this.wanted(node.id);
    if (subject) this.text.appendLeft(node.end, `;${this.bound(subject, node.id)};`);
  }

  // --- assignments

  AssignmentExpression(node) {
    if (isPattern(node.left)) return void this.targets(node.left);
    if (node.left.type === 'MemberExpression') return this.property(node);
    const subject = this.assignable(node.left);
    if (!subject) return;
    const name = node.left.name;
    if (subject.undeclared) return this.around(node, subject, `typeof ${name}==='undefined'?void 0:${name}`, name);
    this.assign(node, name, `,${name},${this.site(subject, node.left)})`, 's');
  }

  /// `target op= value`, where the hook gets the value and then `rest`.
  assign(node, name, rest, hook) {
    const operator = this.tokens.operatorBehind(node.left.end);
    const target = this.source.slice(node.left.start, node.left.end);
    const logical = /^(\|\||&&|\?\?)=$/.exec(node.operator);
    if (node.operator === '=' || logical) {
      const head = logical ? `${logical[1]}(${target}=${kMark}${hook}(` : `=${kMark}${hook}(`;
      return this.wrapValue(operator, node.end, head, node.right, name, rest + (logical ? ')' : ''));
    }
    this.text.update(operator.start, operator.end, `=${kMark}${hook}(${target}${node.operator.slice(0, -1)}(`);
    this.text.appendLeft(node.end, `)${rest}`);
  }

  /// The statement stays as it is; the hook gets the value before and after, and gives the statement's own.
  around(node, subject, before, after) {
    const site = this.site(subject, node.left || node.argument);
    this.prepend(node.start, `${kMark}u(${before},`);
    this.text.appendLeft(node.end, `,${after},${site})`);
  }

  UpdateExpression(node) {
    if (node.argument.type === 'MemberExpression') return this.updatedProperty(node);
    const subject = this.assignable(node.argument);
    const name = subject && subject.name;
    if (subject) this.around(node, subject, subject.undeclared ? `typeof ${name}==='undefined'?void 0:${name}` : name, name);
  }

  // --- properties named by their path: Class.field, exports.name, config.retries

  /// { subject, object, key } of a member expression that is wanted; `object` as it is written.
  propertyAt(node) {
    if (node.computed || node.object.type === 'Super') return null;
    const { object } = node;
    const key = keyName(node.property);
    const text = this.source.slice(object.start, object.end);
    if (object.type === 'ThisExpression') return this.fieldAt(node, key);
    if (/^(exports|module\s*\.\s*exports|globalThis|global)$/.test(text)) {
      const root = object.type === 'MemberExpression' ? object.object : object;
      if (this.scopes.variables.get(root)) return null; // a variable of that name
      const path = `${text.replace(/\s/g, '')}.${key}`;
      const rule = this.rules.match(key, '', true) || this.rules.matchProperty(path);
      return rule ? { subject: { name: key, isGlobal: true, functions: '', rule }, object: text, key } : null;
    }
    if (object.type !== 'Identifier' || !this.scopes.isGlobalName(object)) return null;
    const rule = this.rules.matchProperty(`${text}.${key}`);
    return rule ? { subject: { name: key, isGlobal: true, functions: text, rule }, object: text, key } : null;
  }

  fieldAt(node, key) {
    let at = node.parent;
    while (at && (at.type !== 'ClassBody' || at === node)) {
      if (/^Function/.test(at.type) && !/^(MethodDefinition|Property)$/.test(at.parent.type)) return null;
      if (at.type === 'FunctionExpression' && at.parent.type === 'Property') return null;
      at = at.parent;
    }
    const owner = at && qualifiedName(at.parent);
    const rule = owner && this.rules.matchProperty(`${owner}.${key}`);
    if (!rule) return null;
    const isField = at.body.some((item) => item.type === 'PropertyDefinition' && keyName(item.key) === key);
    if (key[0] === '#' && !isField) return null; // an accessor
    return { subject: { name: key, isGlobal: false, functions: owner, rule }, object: 'this', key };
  }

  property(node) {
    const found = this.propertyAt(node.left);
    if (!found) return;
    const { subject, object, key } = found;
    const site = this.site(subject, node.left);
    if (key[0] === '#') return this.assign(node, '', `,${key} in this?this.${key}:void 0,${site})`, 's');
    // a function is not named after a property that it is assigned to
    this.assign(node, '__proto__', `,${object},${JSON.stringify(key)},${site})`, 'g');
  }

  updatedProperty(node) {
    const found = this.propertyAt(node.argument);
    if (!found) return;
    const { subject, object, key } = found;
    const now = key[0] === '#' ? `this.${key}` : `${kMark}r(${object},${JSON.stringify(key)})`;
    this.around(node, subject, now, now);
  }

  PropertyDefinition(node) {
    if (!node.value || node.computed) return;
    const owner = qualifiedName(node.parent.parent);
    const key = keyName(node.key);
    const rule = this.rules.matchProperty(`${owner}.${key}`);
    if (!rule) return;
    const subject = { name: key, isGlobal: false, functions: owner, rule };
    const operator = this.tokens.operatorBehind(node.key.end);
    const name = node.key.type === 'Identifier' ? key : '__proto__';
    if (isUnnamed(node.value) && name === '__proto__') return;
    this.wrapValue(operator, this.tokens.endOfValue(node.end), `=${kMark}b(`, node.value, name, `,${this.site(subject, node)})`);
  }
}

module.exports = { Transform, kMark };
