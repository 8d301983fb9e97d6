"""Variables of Node programs, named by rules: each store is one event, with line, value before and value after."""

import subprocess

from harness import Run
from node_programs import BUILD, NODES, Case, main, told


def rule(file, **names):
    rows = "".join(f"{scope} = {list(wanted)!r}\n" for scope, wanted in names.items())
    return f'[[watch]]\nfile = "{file}"\n' + rows.replace("'", '"')


class Forms(Case):
    def check_program(self, program, name="app.js", **names):
        self.check_notes({name: program}, config=rule(name, **(names or {"both": ["*"]})))

    def test_declarations_and_assignments(self):
        self.check_program("""\
'use strict'
let a = 1  //> a: - -> 1
var v = 2  //> v: undefined -> 2
var v = 3  //> v: 2 -> 3
const c = a + 1  //> c: - -> 2
a = a + 1  //> a: 1 -> 2
a += (5, 2)  //> a: 2 -> 4
a = (5, 1)  //> a: 4 -> 1
a **= 3  //> a: 1 -> 1
let n = null, later  //> n: - -> None
n ??= 7  //> n: None -> 7
n ||= 8
n &&= 9  //> n: 7 -> 9
later = n = a = 4  //> a: 1 -> 4; n: 9 -> 4; later: undefined -> 4
console.log(a, v, c, n, later)
""")

    def test_counting_gives_what_it_gave(self):
        self.check_program("""\
let i = 5  //> i: - -> 5
console.log(i++, i)  //> i: 5 -> 6
console.log(++i, i--)  //> i: 6 -> 7; i: 7 -> 6
let big = 1n  //> big: - -> 1
console.log(big++, big)  //> big: 1 -> 2
let text = '7'  //> text: - -> 7
console.log(text++, text)  //> text: 7 -> 8
for (let j = 0; j < 2; j++) console.log(j)  //> j: - -> 0; j: 0 -> 1; j: 1 -> 2
""")

    def test_patterns(self):
        self.check_program("""\
let { a, b: [b, ...rest], c = () => 1 } = { a: 1, b: [2, 3, 4] }  //> a: - -> 1; b: - -> 2; rest: - -> [ 3, 4 ]; c: - -> [Function: c]
console.log(c.name, c.length);
[a, b] = [b, a]  //> a: 1 -> 2; b: 2 -> 1
var { length, ...others } = 'ab', [first] = 'xy'  //> length: undefined -> 2; others: undefined -> { "0": "a", "1": "b" }; first: undefined -> x
const object = {};  //> object: - -> {}
({ a: object.inner, a = 9, z: b = class { } } = { a: undefined })  //> a: 2 -> 9; b: 1 -> [class b]
console.log(a, b.name, object, first, length, others)
""")

    def test_loops(self):
        self.check_program("""\
let last  
for (const x of [1, 2]) { let x = 5; last = x }  //> x: - -> 1; x: - -> 5; last: undefined -> 5; x: - -> 2; x: - -> 5; last: 5 -> 5
for (var key in { u: 1, w: 2 }) ;  //> key: undefined -> u; key: u -> w
for (last of [3]) console.log(last)  //> last: 5 -> 3
for ({ last = 8 } of [{}, { last: 1 }]) console.log(last)  //> last: 3 -> 8; last: 8 -> 1
outer: for (const [p, q] of [[1, 2]]) for (;;) continue outer  //> p: - -> 1; q: - -> 2
const made = []  //> made: - -> []
for (let k = 0; k < 2; ++k) made.push(() => k)  //> k: - -> 0; k: 0 -> 1; k: 1 -> 2
console.log(made.map((f) => f()))  //> f: - -> [Function: (anonymous)]; f: - -> [Function: (anonymous)]
""")

    def test_functions_tell_what_they_are_called_with(self):
        self.check_program("""\
function sum(a, { b } = { b: 2 }, ...rest) {  //> sum: - -> [Function: sum]; a: - -> 1; b: - -> 2; rest: - -> [ 5 ]
  'a directive'
  a += b  //> a: 1 -> 3
  return a + rest[0]
}
console.log(sum(1, undefined, 5), sum.length, sum.name)
const square = x => x * x, wrap = (y) => ({ y })  //> square: - -> [Function: square]; wrap: - -> [Function: wrap]; x: - -> 3; y: - -> 4
console.log(square(3), wrap(4))
function* walk(n) { while (n > 0) yield n-- }  //> walk: - -> [Function: walk]; n: - -> 2; n: 2 -> 1; n: 1 -> 0
console.log([...walk(2)])
try { throw new Error('x') } catch ({ message }) { console.log(message) }  //> message: - -> x
try { throw 1 } catch { }
""")

    def test_what_a_variable_held_is_that_of_its_own_instance(self):
        self.check_program("""\
function counter() {
  let n = 0  //> n: - -> 0; n: - -> 0
  return () => ++n  //> n: 0 -> 1; n: 1 -> 2; n: 0 -> 1; n: 2 -> 3
}
const one = counter(), two = counter()
one(); one(); two(); one()
async function later(ms) {
  let n = ms  //> n: - -> 300; n: - -> 1
  await new Promise((done) => setTimeout(done, ms))
  n += await ms  //> n: 1 -> 2; n: 300 -> 600
}
later(300); later(1)
function fall(depth) {
  let n = depth  //> n: - -> 2; n: - -> 1; n: - -> 0
  if (depth > 0) fall(depth - 1)
  n = -n  //> n: 0 -> -0.0; n: 1 -> -1; n: 2 -> -2
}
fall(2)
""", both=["n"])

    def test_stores_that_fail_are_no_events(self):
        self.check_program("""\
'use strict'
const fixed = 1  //> fixed: - -> 1
const note = (run) => { try { run() } catch (e) { console.log(e.name, e.message) } }
note(() => { fixed = 2 })
note(() => { early = 1; let early })
note(() => { undeclared = 3 })
note(() => { fixed++ })
note(() => { let v = null; v = v.x.y })  //> v: - -> None
note(() => { (function named() { named = 1 })() })
""", both=["fixed", "early", "undeclared", "v", "named"])

    def test_classes_and_fields(self):
        self.check_program("""\
class Cart {  //> Cart: - -> [class Cart]
  total = 0  //> total: - -> 0
  static made = 0  //> made: - -> 0
  #lines = 1  //> #lines: - -> 1
  handler = () => this.total  //> handler: - -> [Function: handler]
  add(price) {
    this.total += price  //> total: 0 -> 5
    this.#lines++  //> #lines: 1 -> 2
    Cart.made = 7  //> made: 0 -> 7
    const inner = () => { this.total = 1 }  //> total: 5 -> 1
    inner()
    return this.#lines
  }
}
const cart = new Cart()
console.log(cart.add(5), cart.handler(), cart.handler.name, Object.keys(cart))
""", both=["Cart", "Cart.total", "Cart.made", "Cart.lines", "Cart.handler"])

    def test_properties_of_the_module_and_of_the_global_object(self):
        self.check_program("""\
exports.name = 'me'  //> name: - -> me
module.exports.name += '!'  //> name: me -> me!
exports.count ??= 1  //> count: - -> 1
exports.count++  //> count: 1 -> 2
globalThis.shared = exports.count  //> shared: - -> 2
shared = 3  //> shared: 2 -> 3
const config = { retries: 1 }
config.retries = 2  //> retries: 1 -> 2
Object.defineProperty(exports, 'fixed', { value: 1 })
exports.fixed = 2
console.log(exports, shared, config)
""", **{"global": ["name", "count", "shared", "config.retries", "fixed"]})

    def test_properties_inside_patterns_and_loops(self):
        self.check_program("""\
const config = { retries: 1 }
let other = 0;  //> other: - -> 0
({ a: config.retries, b: other } = { a: 2, b: 1 })  //> retries: 1 -> 2; other: 0 -> 1
;[config.retries = 5, ...config.rest] = []  //> retries: 2 -> 5; rest: - -> []
for (config.retries of [6, 7]) other = config.retries  //> retries: 5 -> 6; other: 1 -> 6; retries: 6 -> 7; other: 6 -> 7
for (config.rest in { u: 1 }) ;  //> rest: [] -> u
class Cart {
  total = 0  //> total: - -> 0
  #lines = 1  //> #lines: - -> 1
  static made
  static { [this.made, Cart.made] = [1, 2] }  //> made: undefined -> 1; made: 1 -> 2
  fill() { [this.total, this.#lines] = [7, 8]; return this.total + this.#lines }  //> total: 0 -> 7; #lines: 1 -> 8
}
console.log(new Cart().fill(), Cart.made, config);
try { ({ a: nowhere.x } = { a: 1 }) } catch (e) { console.log(e.name, e.message) }
""", both=["config.*", "other", "Cart.total", "Cart.lines", "Cart.made", "nowhere.*"])

    def test_rare_forms(self):
        self.check_program("""\
let a = 1, b = 2, c = 3  //> a: - -> 1; b: - -> 2; c: - -> 3
let n = null; n ??= (a++, 4); n ??= (a++, 5)  //> n: - -> None; a: 1 -> 2; n: None -> 4
let z = 0; z ||= 3; z &&= 0; z &&= 9  //> z: - -> 0; z: 0 -> 3; z: 3 -> 0
function* gen() { let g = 1; try { while (true) g = (yield g) ?? g + 1 } finally { c = g } }  //> g: - -> 1; g: 1 -> 5; c: 3 -> 5
const it = gen(); it.next(); it.next(5); console.log(it.return(7))
outer: for (let i = 0; i < 2; i++) { for (;;) { a = i; continue outer } }  //> i: - -> 0; a: 2 -> 0; i: 0 -> 1; a: 0 -> 1; i: 1 -> 2
const tag = (s, ...v) => { a = v.length; return s.raw.join('|') }  //> s: - -> [ "x", "y", "" ]; v: - -> [ 9, 2 ]; a: 9 -> 2
console.log(tag`x${a = 9}y${b++}`)  //> a: 1 -> 9; b: 2 -> 3
try { (() => { early; let early = 2 })() } catch (e) { console.log(e.name) }
console.log((function () { try { return a = 4 } finally { a = 5 } })(), a)  //> a: 2 -> 4; a: 4 -> 5
const { x: { y: [deep = 1] = [] } = {}, ...others } = { m: 1 }  //> deep: - -> 1; others: - -> { m: 1 }
switch (a) { case 5: let sw = 1; sw = 2; break; default: }  //> sw: - -> 1; sw: 1 -> 2
do { var dw = a-- } while (a > 3)  //> a: 5 -> 4; dw: undefined -> 5; a: 4 -> 3; dw: 5 -> 4
const o = { set v(x) { a = x }, get v() { return a }, ['m' + a]() { a = 1 } }  //> x: - -> 12; a: 3 -> 12; x: - -> 13; a: 12 -> 13; a: 13 -> 1
o.v = 12; o.v++; o.m3()
let seq = (a = 1, b = 2, a + b), tern = a ? (b = 3) : (c = 4)  //> a: 1 -> 1; b: 3 -> 2; seq: - -> 3; b: 2 -> 3; tern: - -> 3
let sym = Symbol('q'); sym = 2n ** 64n  //> sym: - -> Symbol(q); sym: Symbol(q) -> 18446744073709551616
eval('a = 77'); a++  //> a: 77 -> 78
[a = 3, [b = 4] = []] = []; ({ a, b: c = 5 } = { a: 1 })  //> a: 78 -> 3; b: 3 -> 4; a: 3 -> 1; c: 5 -> 5
const many = async function* () { for await (const v of [Promise.resolve(1), 2]) yield v };  //> v: - -> 1; v: - -> 2
(async () => { for await (const v of many()) a = v; console.log(a) })()  //> v: - -> 1; a: 1 -> 1; v: - -> 2; a: 1 -> 2
""", both=["[abcgnzvsix]", "deep", "others", "sw", "dw", "seq", "tern", "sym", "early"])


class Rules(Case):
    def test_scopes_globs_and_qualified_names(self):
        program = """\
let total = 1, db_a = 1, other = 1
function run() { let total = 2; db_a = 2; { let total = 3 } ; other = total }
class Worker { run() { let total = 4; return () => { let total = 5; return total } } }
run(); console.log(new Worker().run()())
"""
        for rules, expected in [
            (rule("app.js", **{"global": ["total", "db_*"]}), ["total: - -> 1", "db_a: - -> 1", "db_a: 1 -> 2"]),
            (rule("app.js", local=["total"]), [f"total: - -> {n}" for n in (2, 3, 4, 5)]),
            (rule("app.js", local=["Worker.run.total"]), ["total: - -> 4"]),
            (rule("app.js", unknown=["run.*"]), ["total: - -> 2", "total: - -> 3"]),
            (rule("other.js", both=["*"]), []),
        ]:
            with self.subTest(rules=rules):
                self.on_nodes({"app.js": program}, lambda run: self.assertEqual([told(e) for e in run.events], expected), config=rules)

    def test_functions_are_named_as_rules_name_them(self):
        program = "class Cart { add() { const n = 1; return [1].map(() => { const n = 2; return n }) } }\n" \
                  "const outer = () => { function inner() { const n = 3 }; inner() }\nnew Cart().add(); outer(); const n = 4\n"
        names = ["Cart.add", "Cart.add.<anonymous>", "outer.inner", "<module>"]
        self.on_nodes({"app.js": program}, lambda run: self.assertEqual([e["function"] for e in run.events], names),
                      config=rule("app.js", both=["n"]))

    def test_conditions_choose(self):
        config = rule("app.js", **{"global": ["n"]}) + 'when = "new > 2"\n'
        self.on_nodes({"app.js": "let n = 0\nwhile (n < 4) n++\n"},
                      lambda run: self.assertEqual([told(e) for e in run.events], ["n: 2 -> 3", "n: 3 -> 4"]), config=config)


class Modules(Case):
    def test_exports_stay_live(self):
        files = {
            "main.mjs": "import { count, inc } from './lib.mjs'\ninc(); inc()\nlet total = await Promise.resolve(count)  //> total: - -> 2\n"
                        "for await (const q of [1, 2]) total += q  //> q: - -> 1; total: 2 -> 3; q: - -> 2; total: 3 -> 5\n"
                        "console.log(count, total, import.meta.url.slice(-8))\n",
            "lib.mjs": "export let count = 0  //> count: - -> 0\nexport function inc() { count++ }  //> count: 0 -> 1; count: 1 -> 2\n",
        }
        self.check_notes(files, config=rule("*.mjs", both=["count", "total", "q"]))

    def test_commonjs_from_modules(self):
        files = {"main.mjs": "import lib from './lib.cjs'\nconsole.log(lib.get())\n",
                 "lib.cjs": "let n = 1  //> n: - -> 1\nexports.get = () => ++n  //> n: 1 -> 2\n"}
        self.check_notes(files, config=rule("lib.cjs", both=["n"]))

    def test_typescript_is_told_where_it_was_written(self):
        source = "interface Item {\n  price: number\n}\nlet total: number = 0  //> total: - -> 0\n" \
                 "function add(item: Item): void {\n\n  total += item.price  //> total: 0 -> 5\n}\nadd({ price: 5 })\nconsole.log(total)\n"
        (self.directory / "app.ts").write_text(source)
        bundler = BUILD / "probes/node/node_modules/watcher/transform.cjs.p/node_modules/esbuild/bin/esbuild"
        made = subprocess.run([bundler, "app.ts", "--format=cjs", "--sourcemap", "--outfile=app.js"], cwd=self.directory, capture_output=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        files = {"app.js": (self.directory / "app.js").read_text()}
        self.on_nodes(files, lambda run: self.assert_notes(run, {"app.ts": source}), config=rule("app.ts", both=["total"]))


class Host(Case):
    """What a program can see of itself."""

    def test_sources_of_untouched_functions_names_and_the_global_object(self):
        self.on_nodes({"app.js": """\
let n = 0
function plain(a, b) { return a /* kept */ + b }
n = 1
console.log(plain.toString(), Object.keys(globalThis).join(), eval('typeof n'), JSON.stringify(module.children), module.paths.length)
console.log(require.main === module, __filename.slice(-6), module.loaded, arguments.length, this === exports)
"""}, lambda run: self.assertEqual(len(run.of("n")), 2), config=rule("app.js", both=["n"]))

    def test_a_worker_that_is_ended_while_its_module_is_transformed(self):
        self.on_nodes({"app.js": """\
const { Worker, isMainThread, parentPort } = require('worker_threads')
if (isMainThread) {
  const worker = new Worker(__filename)
  worker.on('message', () => setTimeout(() => worker.terminate(), 50)).on('exit', (code) => console.log(code))
} else {
  parentPort.postMessage(0)
  require('./long.js')
  for (;;);
}
""", "long.js": "let n = 0\n" + "n = { a: [n, n + 1] }.a[0]\n" * 20000}, lambda run: None, config=rule("long.js", both=["n"]))

    def test_showing_the_global_object_loads_no_module(self):
        self.on_nodes({"app.js": "const all = globalThis\nconsole.log(process.moduleLoadList.filter((name) => /undici|zlib|web/.test(name)).join())\n"},
                      lambda run: self.assertEqual(len(run.of("all")), 1), config=rule("app.js", both=["all"]))

    def test_texts_of_functions_are_those_that_were_written(self):
        self.on_nodes({"app.js": """\
const vm = require('vm')
function sum(list = [1]) { let n = 0; for (let i = 0; i < list.length; i++) { n  +=  list[i] } [n] = [n + 1]; return n }
const arrow = (n) => n ** 2, n = [() => { for (var n in {}) ; n ||= 4 }], twice = async (n) => { n ++ }
class Kept { n = 1; set(n) { this.n = n; for (const i of [n]) sum.n = i } static { let n = function () {} } }
for (const one of [sum, arrow, n[0], twice, Kept, Kept.prototype.set, arrow, (i) => (n) => n]) console.log(`${one}`, one.toString() === String(one))
console.log(vm.runInNewContext(`(${sum})([2, 3])`), sum([2, 3]), new Function('n', 'n = 1; return n').toString())
const { toString } = Function.prototype
console.log(toString.call(toString), toString.name, toString.length, String(Map), typeof toString)
console.log(Object.keys(Object.getOwnPropertyDescriptors(Function.prototype)).join())
try { toString.call({}) } catch (error) { console.log(error.stack.replace(/:\\d+:\\d+/g, '')) }
"""}, lambda run: self.assertTrue(run.of("n")), config=rule("app.js", both=["*"]))

    def test_strictness_and_directives(self):
        self.on_nodes({"app.js": """\
function strict(n) { 'use strict'; n = this; return this === undefined }
function sloppy(n) { n = typeof this; return n }
let n = function () { return arguments.length }(1, 2)
console.log(strict(1), sloppy(2), n)
"""}, lambda run: self.assertEqual(len(run.of("n")), 5), config=rule("app.js", both=["n"]))

    def test_a_missing_semicolon_stays_missing(self):
        self.check_notes({"app.js": """\
let a = 1, b = 2  //> a: - -> 1; b: - -> 2
const list = [a]
a ||= list
b ??= 3
a++  //> a: 1 -> 2
b
++a  //> a: 2 -> 3
;[a, b] = [b, a]  //> a: 3 -> 2; b: 2 -> 3
if (a) a = 1; else a = 2  //> a: 2 -> 1
do a--; while (a > 0)  //> a: 1 -> 0
console.log(a, b)
"""}, config=rule("app.js", both=["a", "b"]))

    def test_functions_get_the_names_that_they_had(self):
        self.check_notes({"app.js": """\
let a, b; (a) = function () {}; b = function () {};  //> a: undefined -> [Function: (anonymous)]; b: undefined -> [Function: b]
[(a) = class {}, b = class {}] = []  //> a: [Function: (anonymous)] -> [class (anonymous)]; b: [Function: b] -> [class b]
console.log(a.name, b.name)
"""}, config=rule("app.js", both=["a", "b"]))

    def test_nothing_is_added_to_what_with_asks_for(self):
        self.check_notes({"app.js": """\
const asked = []
const scope = new Proxy({}, { has(target, key) { asked.push(key); return key === 'held' } })
with (scope) { var held = 1, { free } = { free: 2 }; free = 3; (function () { var own = 4; own++ })() }
console.log(asked.join(), held, free)
free = 5  //> free: 3 -> 5
"""}, config=rule("app.js", both=["held", "free", "own"]))

    def test_values_are_described_without_running_them(self):
        self.on_nodes({"app.js": """\
let ran = 0
const touch = () => { ran++; return 'x' }
const map = new Map([[{}, new Set([1])]])
const own = [[Array.prototype, Symbol.iterator], [Array.prototype, 'includes'], [RegExp.prototype, 'exec'], [String.prototype, 'slice']].map((at) => [...at, at[0][at[1]]])
class Odd { get value() { return touch() } toJSON() { return touch() } toString() { return touch() } static get name() { return touch() } }
Odd.prototype[Symbol.toPrimitive] = touch
Odd.prototype[require('util').inspect.custom] = touch
Object.defineProperty(Odd.prototype, Symbol.toStringTag, { get: touch })
for (let i = 0; i < own.length; i++) own[i][0][own[i][1]] = touch
let seen = new Odd()
seen = new Proxy({}, { get: touch, ownKeys: () => { touch(); return [] }, getOwnPropertyDescriptor: touch, getPrototypeOf: () => { touch(); return null } })
seen = { get a() { return touch() }, [Symbol('s')]: map, list: [1, , 3] }
for (let i = 0; i < own.length; i++) own[i][0][own[i][1]] = own[i][2]
console.log(ran)
"""}, lambda run: self.assertEqual([told(e) for e in run.of("seen")][-1],
                                    'seen: <Proxy> -> { a: [Getter], list: [ 1, <empty>, 3 ], [Symbol(s)]: Map(1) { {} => Set(1) { 1 } } }'),
            config=rule("app.js", both=["seen"]))

    def test_a_limited_address_space(self):
        """Before 22.15 module hooks would need a second isolate, for which there may be no room."""
        program = self.write({"app.js": "let x = 1\nx = 2\nconsole.log(x)\n"})
        (self.directory / "rules.toml").write_text('[[watch]]\nfile = "app.js"\nglobal = ["x"]\n')
        (self.directory / "rules.toml").chmod(0o644)
        for version, node in NODES:
            with self.subTest(node=version):
                output = self.directory / f"limited-{version}"
                command = [str(BUILD / "tools/watcher-exec"), "--output", str(output), "--config", "rules.toml", "--", "prlimit", "--as=3000000000", node, str(program)]
                run = Run(self.execute(command), output)
                self.assertEqual((run.status, run.stdout), (0, b"2\n"))
                self.assertEqual([event["line"] for event in run.events], [1, 2])
                self.assertEqual(b"the address space is limited" in run.stderr, version < 22)

    def test_a_thrown_error_is_reported_as_ever(self):
        # the columns of a line with hooks, and the excerpt of it, are those of the hooked source
        program = "let n = 0\nfunction fail() {\n  n = 1\n  throw new Error('no ' + n)\n}\nfail()\n"
        self.on_nodes({"app.js": program}, lambda run: self.assertEqual(len(run.of("n")), 2), config=rule("app.js", both=["n"]))


if __name__ == "__main__":
    main()
