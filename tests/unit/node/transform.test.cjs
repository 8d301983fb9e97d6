// The load-time transform by itself: what it leaves alone, what text it gives. Environment: WATCHER_TRANSFORM, the bundle.
'use strict';

const { test } = require('node:test');
const assert = require('node:assert');
const { transform } = require(process.env.WATCHER_TRANSFORM);

function transformed(source, names = ['x'], { sourceType = null, scope = 'both' } = {}) {
  const sites = [];
  const text = transform(source, {
    file: 'app.js',
    sourceType,
    rulesFor: () => names.map((name) => ({ name, scope })),
    makeSite: (site) => sites.push(site) - 1,
  });
  return { text, sites };
}

test('a source without wanted names is left alone', () => {
  for (const source of ['let y = 1', 'y.x = 1', 'const s = "x = 1"', '// x', 'import { x } from "m"', 'f(x)', '({ x: 1 })', 'label: x'])
    assert.strictEqual(transformed(source).text, null, source);
});

test('a source that does not parse is left alone', () => assert.strictEqual(transformed('let x = ').text, null));

test('lines stay', () => {
  const source = '#!/usr/bin/env node\n"use strict" // x\nlet x = /* a */ 1,\n  y = `x = ${x\n}`\nx\n  +=\n  2\nfunction f(x) { "use strict"\n\n return x }\n';
  const { text, sites } = transformed(source);
  assert.strictEqual(text.split('\n').length, source.split('\n').length);
  assert.deepStrictEqual(sites.map(({ line }) => line).sort((a, b) => a - b), [3, 6, 9]);
  assert.match(text, /^#!.*\n"use strict"/);
});

test('directives stay in front', () => {
  const { text } = transformed('function f(x) { "use strict"; return this }');
  assert.match(text, /\{ "use strict"; watcher\$b\(x,0\);return/);
  const { text: alone } = transformed('function f(x) { "use strict"; }');
  assert.match(alone, /\{ "use strict";;watcher\$b\(x,0\); \}/);
});

test('a name is a variable of its scope, not a text', () => {
  const { sites } = transformed('let x = 1; { let x = 2; x++ } function f(x) { x = 3 } const o = { x: 4 }; o.x = 5; x = 6', ['x'], { scope: 'global' });
  assert.deepStrictEqual(sites.map((site) => site.scope), Array(4).fill('global'));
});

test('constants, imports and the name of a function expression are not stored to', () => {
  for (const source of ['const y = 1; y = 2', 'import y from "m"; y = 2', '(function y() { y = 2 })()'])
    assert.ok(transformed(source, ['y']).sites.length <= 1, source);
});

test('names of rules are qualified, with globs', () => {
  const source = 'class Cart { add() { let total = 1; [1].map(() => { let total = 2 }) } } function add() { let total = 3 } let totally = 4';
  const wanted = (...names) => transformed(source, names).sites.map((site) => site.owner.split('\n')[1] ?? '');
  assert.deepStrictEqual(wanted('Cart.add.total'), ['Cart.add']);
  assert.deepStrictEqual(wanted('*.total'), ['Cart.add', 'Cart.add.<anonymous>', 'add']);
  assert.deepStrictEqual(wanted('total*'), ['Cart.add', 'Cart.add.<anonymous>', 'add', '']);
  assert.deepStrictEqual(wanted('tot[!a]l'), []);
});

test('what it gives can be compiled', () => {
  const forms = ['for (var x of [1]);', 'for (x in {});', 'if (1) x = 1; else x = 2', 'x => x', 'async x => ({ x })', 'with (o) x = 1', 'var [x = 1] = []',
    'var { x } = o, y', '[x, ...y] = z', 'x ??= () => 1', 'try {} catch ([x]) {}', 'switch (1) { case 1: function x() {} }', 'do x--; while (x)',
    'l: for (const x of y) continue l', 'class x { static { x.y = 1 } }', 'export_ = x = class {}', 'x = y = x', '(x) = 1', '({ x: (x) } = o)',
    'function* f() { x = yield x }', 'async function f() { for await (x of y) x += await x }', 'delete globalThis.x', 'x = async function () {}',
    // as minifiers write it
    'var{x}=o', 'typeof++x;void--x', 'function f(){return++x}', 'switch(y){case--x:}', 'if(y);else++x', 'for(var{x}of y);', 'do++x\nwhile(y)'];
  const untold = [];
  for (const form of forms) {
    const { text } = transformed(form.startsWith('class') ? form : `var x, y, z, o; ${form}`);
    if (text === null) untold.push(form);
    else {
      new Function(text);
      assert.doesNotMatch(text, /[\w$]watcher\$|varx/);
    }
  }
  assert.deepStrictEqual(untold, ['with (o) x = 1', 'switch (1) { case 1: function x() {} }', 'delete globalThis.x']);
});

test('modules', () => {
  const { text } = transformed('export let x = 1; export var { y } = await z; export default class x2 {}', ['x*', 'y'], { sourceType: 'module' });
  assert.match(text, /export let x =watcher\$b\( 1,0\)/);
  assert.match(text, /export var y,\{\}=\(\{/);
  assert.match(text, /export default class x2 \{\};watcher\$b\(x2,2\);/);
});
