// The syntax tree with what the transform asks of it: parents, qualified names of functions, tokens.
'use strict';

const acorn = require('acorn');

const kParse = {
  ecmaVersion: 'latest',
  locations: true,
  ranges: true,
  allowHashBang: true,
  allowAwaitOutsideFunction: false,
  allowImportExportEverywhere: false,
};

/// Null when the source is not of this kind.
function parse(source, sourceType) {
  const tokens = [];
  const options = { ...kParse, sourceType: sourceType === 'module' ? 'module' : 'script', onToken: tokens };
  options.allowReturnOutsideFunction = sourceType === 'commonjs';
  try {
    return { ast: acorn.parse(source, options), tokens, sourceType };
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

function children(node) {
  const out = [];
  for (const key in node) {
    if (key === 'parent' || key === 'loc') continue;
    const value = node[key];
    if (Array.isArray(value)) {
      for (const item of value) if (item && typeof item.type === 'string') out.push(item);
    } else if (value && typeof value.type === 'string') out.push(value);
  }
  return out;
}

/// Depth first, children before their parents, without recursion: minified sources nest deeply.
function inOrder(root) {
  const order = [];
  const stack = [root];
  while (stack.length > 0) {
    const node = stack.pop();
    order.push(node);
    for (const child of children(node)) {
      child.parent = node;
      stack.push(child);
    }
  }
  return order.reverse();
}

const isFunction = (node) => /Function/.test(node.type);
const isClass = (node) => node.type === 'ClassDeclaration' || node.type === 'ClassExpression';

function keyName(node) {
  if (node.type === 'PrivateIdentifier') return '#' + node.name;
  if (node.type === 'Identifier') return node.name;
  return node.type === 'Literal' ? String(node.value) : null;
}

/// What a function or class is called: by its own name, or as the language would name it.
function ownName(node) {
  if (node.id) return node.id.name;
  const parent = node.parent;
  if (!parent) return null;
  if (parent.type === 'VariableDeclarator' && parent.id.type === 'Identifier') return parent.id.name;
  if (/^(AssignmentExpression|AssignmentPattern)$/.test(parent.type) && parent.right === node) {
    if (parent.left.type === 'Identifier') return parent.left.name;
    if (parent.left.type === 'MemberExpression' && !parent.left.computed) return keyName(parent.left.property);
  }
  if (/^(Property|MethodDefinition|PropertyDefinition)$/.test(parent.type) && parent.value === node && !parent.computed)
    return keyName(parent.key);
  return null;
}

/// "Worker.run", "outer.inner"; '' at the top level. `node` itself counts.
function qualifiedName(node) {
  const names = [];
  for (let at = node; at; at = at.parent)
    if (isFunction(at)) names.push(ownName(at) || '<anonymous>');
    else if (isClass(at)) names.push(ownName(at) || '<class>');
  return names.reverse().join('.');
}

class Tokens {
  constructor(tokens) {
    this.tokens = tokens;
  }
  /// Index of the first token that starts at or behind `position`.
  from(position) {
    let low = 0;
    let high = this.tokens.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tokens[middle].start < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  /// The first token behind `position` that is no closing parenthesis.
  operatorBehind(position) {
    let at = this.from(position);
    while (this.tokens[at].type === acorn.tokTypes.parenR) ++at;
    return this.tokens[at];
  }
  /// The arrow in front of a body, which may stand in parentheses.
  arrowBefore(position) {
    let at = this.from(position) - 1;
    while (this.tokens[at].type !== acorn.tokTypes.arrow) --at;
    return this.tokens[at];
  }
  /// Where the last token before `position` ends, a semicolon left out.
  endOfValue(position) {
    let at = this.from(position) - 1;
    if (this.tokens[at].type === acorn.tokTypes.semi) --at;
    return this.tokens[at].end;
  }
}

module.exports = { parse, inOrder, isFunction, isClass, keyName, qualifiedName, Tokens };
