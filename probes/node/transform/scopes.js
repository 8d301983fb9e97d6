// Which variable an identifier means, and which variables are wanted.
'use strict';

const eslintScope = require('eslint-scope');
const { isClass, qualifiedName } = require('./tree.js');

const kLocalScopes = new Set(['function', 'class-field-initializer', 'class-static-block']);

class Scopes {
  constructor(tree, rules) {
    this.rules = rules;
    this.variables = new Map(); // identifier node → variable; null: a global that nobody declares
    const options = { ecmaVersion: 2022, sourceType: tree.sourceType, ignoreEval: true };
    const manager = eslintScope.analyze(tree.ast, options);
    this.scopes = manager.scopes;
    const withs = manager.scopes.filter((scope) => scope.type === 'with').map((scope) => scope.block.body);
    // under `with` a name may be a property
    const isClear = ({ start }) => !withs.some((body) => body.start <= start && start < body.end);
    for (const scope of manager.scopes) {
      for (const { identifier, resolved } of scope.references) if (isClear(identifier)) this.variables.set(identifier, resolved);
      for (const variable of scope.variables)
        for (const identifier of variable.identifiers) if (isClear(identifier)) this.variables.set(identifier, variable);
    }
    this.wanted = new Map();
  }

  /// { name, isGlobal, functions, rule } of the variable that this identifier means, when it is wanted; else null.
  wantedAt(identifier) {
    const variable = this.variables.get(identifier);
    if (variable === undefined || /^(arguments|eval|await|yield|let|async)$/.test(identifier.name)) return null;
    const key = variable || identifier.name;
    if (!this.wanted.has(key)) this.wanted.set(key, this.describe(variable, identifier.name));
    return this.wanted.get(key);
  }

  describe(variable, name) {
    const owner = variable && ownerOf(variable.scope);
    const functions = owner ? qualifiedName(owner) : '';
    const rule = this.rules.match(name, functions, !owner);
    return rule ? { name, isGlobal: !owner, functions, rule, undeclared: !variable, constant: isConstant(variable) } : null;
  }

  isGlobalName(identifier) {
    const variable = this.variables.get(identifier);
    return variable === null || (variable && !ownerOf(variable.scope));
  }
}

/// The node of the innermost function in which a scope lies; null at the top level, whatever the blocks around it.
function ownerOf(scope) {
  for (let at = scope; at; at = at.upper)
    if (kLocalScopes.has(at.type) && at.block.type !== 'Program') return at.block;
  return null;
}

/// An assignment to it fails, or is ignored: there is no store.
function isConstant(variable) {
  const definition = variable && variable.defs[0];
  if (!definition) return false;
  if (definition.type === 'ImportBinding') return true;
  if (definition.type === 'Variable') return !/^(let|var)$/.test(definition.parent.kind);
  if (definition.type === 'FunctionName') return definition.node.type === 'FunctionExpression';
  return definition.type === 'ClassName' && isClass(variable.scope.block) && variable.scope.type === 'class';
}

/// The variables of a function's parameters, in order.
function parametersOf(node, scopes) {
  return node.params.flatMap((pattern) => namesOf(pattern)).map((id) => [id, scopes.wantedAt(id)]).filter((p) => p[1]);
}

/// What a pattern binds or assigns to, in order: identifiers and members of objects.
function leavesOf(pattern) {
  if (!pattern) return [];
  switch (pattern.type) {
    case 'ObjectPattern':
      return pattern.properties.flatMap((item) => leavesOf(item.type === 'Property' ? item.value : item.argument));
    case 'ArrayPattern':
      return pattern.elements.flatMap(leavesOf);
    case 'AssignmentPattern':
      return leavesOf(pattern.left);
    case 'RestElement':
      return leavesOf(pattern.argument);
    default:
      return [pattern];
  }
}

const namesOf = (pattern) => leavesOf(pattern).filter((leaf) => leaf.type === 'Identifier');

module.exports = { Scopes, parametersOf, namesOf, leavesOf };
