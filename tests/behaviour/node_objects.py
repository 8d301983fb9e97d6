"""watch() of Node objects: each change is one event, with path, operation, value before and after; the program goes on with
what behaves as the object did.
"""

from node_programs import Case, main, told


class Changes(Case):
    def test_properties_and_parts(self):
        self.check_notes({"app.js": """\
const { watch } = require('watcher')
const state = watch({ users: [{ name: 'a' }], n: 0 }, { name: 'state' })
state.n = 5; state.n++  //> state[n] setattr: 0 -> 5; state[n] setattr: 5 -> 6
state.users[0].name = 'x'  //> state[users][0][name] setattr: a -> x
state.users.push({ name: 'b' })  //> state[users][1] append: - -> { name: "b" }
state.users[1].name = 'c'  //> state[users][1][name] setattr: b -> c
delete state.n  //> state[n] delattr: 6 -> -
delete state.n
Object.defineProperty(state, 'w', { value: 1, configurable: true })  //> state[w] setattr: - -> 1
Object.assign(state, { y: 2, z: 3 })  //> state[y] setattr: - -> 2; state[z] setattr: - -> 3
state[Symbol('s')] = 1  //> state[Symbol(s)] setattr: - -> 1
const [first] = state.users
state.users.shift()  //> state[users][0] popleft: { name: "x" } -> -
first.name = 'gone'
const { users } = state
users[0].name = 'd'  //> state[users][0][name] setattr: c -> d
function deep() { state.users[0].a = { b: { c: { d: 1 } } } }  //> state[users][0][a] setattr: - -> { b: { c: { d: 1 } } }
deep()
state.users[0].a.b = 2  //> state[users][0][a][b] setattr: { c: { d: 1 } } -> 2
console.log(JSON.stringify(state), state, Object.keys(state), 'y' in state)
"""})

    def test_arrays(self):
        self.check_notes({"app.js": """\
const { watch } = require('watcher')
const list = watch([3, 1, 2], { name: 'list' })
console.log(list.push(7, 8))  //> list[3] append: - -> 7; list[4] append: - -> 8
list.sort()  //> list sort: [ 3, 1, 2, 7, 8 ] -> [ 1, 2, 3, 7, 8 ]
console.log(list.splice(1, 2, 'q'))  //> list[1:3] setitem: [ 2, 3 ] -> [ "q" ]
console.log(list.splice(-1))  //> list[3:4] delitem: [ 8 ] -> -
list.splice(0, 0, 'i')  //> list[0:1] insert: - -> [ "i" ]
console.log(list.pop(), list.shift(), list.unshift(0))  //> list[3] pop: 7 -> -; list[0] popleft: i -> -; list[0] appendleft: - -> 0
list.length = 1  //> list[length] setattr: 3 -> 1
list[0] = 4; list[1] = 5  //> list[0] setitem: 0 -> 4; list[1] append: - -> 5
list.fill(9, 1)  //> list[1:2] setitem: [ 5 ] -> [ 9 ]
list.reverse()  //> list reverse: [ 4, 9 ] -> [ 9, 4 ]
delete list[0]  //> list[0] delitem: 9 -> -
console.log(list, list.length, list.includes(4), Array.isArray(list), list.map((x) => x * 2), [...list, ...list.concat([1])])
"""})

    def test_maps_and_sets_stay_the_object_that_they_are(self):
        self.check_notes({"app.js": """\
const { watch } = require('watcher')
const raw = new Map([['k', { v: 1 }]])
const map = watch(raw, { name: 'map' })
console.log(map === raw, map.size)
map.set('a', 1).set('a', 2)  //> map[a] setitem: - -> 1; map[a] setitem: 1 -> 2
map.get('k').v = 9  //> map[k][v] setattr: 1 -> 9
console.log(map.delete('a'), map.delete('a'))  //> map[a] delitem: 2 -> -
for (const [, value] of map) value.v++  //> map[k][v] setattr: 9 -> 10
map.forEach((value) => { value.v = 0 })  //> map[k][v] setattr: 10 -> 0
map.clear()  //> map clear: Map(1) { "k" => { v: 0 } } -> Map(0) {}
const set = watch(new Set([1]), { name: 'set' })
set.add(2).add(2)  //> set add: - -> 2
set.delete(1)  //> set discard: 1 -> -
console.log(map, set, [...set], set.has(2), structuredClone(set), Object.keys(map), new Map(map), map instanceof Map)
set.clear()  //> set clear: Set(1) { 2 } -> Set(0) {}
for (const empty of [map, set]) try { empty.forEach(7) } catch (error) { console.log(error.message) }
"""})

    def test_instances_private_names_and_dates(self):
        self.check_notes({"app.js": """\
const { watch } = require('watcher')
class Open { constructor() { this.jobs = []; this.n = 0 }
  run(job) { this.jobs.push(job)  //> open[jobs][0] append: - -> j
    return ++this.n } }  //> open[n] setattr: 0 -> 1
class Kept { #secret = 1; total = 0; items = []
  add(n) { this.#secret++; this.total += n
    this.items.push(n)  //> kept[items][0] append: - -> 3
    return this }
  get secret() { return this.#secret } set secret(n) { this.#secret = n; this.total = n } }
const open = watch(new Open(), { name: 'open' }), kept = watch(new Kept(), { name: 'kept' })
console.log(open.run('j'), open instanceof Open, open.constructor.name)
console.log(kept.add(3) === kept, kept.secret, kept.total, kept instanceof Kept)  //> kept[total] setattr: 0 -> 3
kept.secret = 8  //> kept[total] setattr: 3 -> 8
const date = watch(new Date(0), { name: 'date' })
date.setUTCFullYear(2001)  //> date change: 1970-01-01T00:00:00.000Z -> 2001-01-01T00:00:00.000Z
console.log(date.getTime(), date instanceof Date, JSON.stringify({ date }))
class Stack extends Array { add(x) { this.push(x); return this } }  //> stack[0] append: - -> 1
const stack = watch(new Stack(), { name: 'stack' })
console.log(stack.add(1), stack.length, stack instanceof Stack)
"""})

    def test_dates_stay_dates(self):
        self.check_notes({"app.js": """\
const { watch } = require('watcher'), { isDate } = require('util').types, assert = require('assert')
const o = watch({ at: new Date(1), all: [new Date(2)] }, { name: 'o' })
o.at.setTime(5)  //> o[at] change: 1970-01-01T00:00:00.001Z -> 1970-01-01T00:00:00.005Z
o.all[0].setUTCMilliseconds(7); o.all[0].setUTCHours(0)  //> o[all][0] change: 1970-01-01T00:00:00.002Z -> 1970-01-01T00:00:00.007Z
console.log(+new Date(o.at), isDate(o.at), Object.prototype.toString.call(o.all[0]), Object.keys(o.at), `${o.at}`, o.at.setTime.length)
assert.deepStrictEqual(o.at, new Date(5)); assert.deepStrictEqual(structuredClone(o), { at: new Date(5), all: [new Date(7)] })
class Day extends Date { next() { this.setUTCDate(this.getUTCDate() + 1)  //> day change: 1970-01-01T00:00:00.000Z -> 1970-01-02T00:00:00.000Z
    return this } setTime(ms) { return super.setTime(ms * 2) } }
const day = watch(new Day(0), { name: 'day' })
console.log(day.next() === day, day instanceof Day, +new Date(day), String(Reflect.ownKeys(Day.prototype)))
day.setTime(4)  //> day change: 1970-01-02T00:00:00.000Z -> 1970-01-01T00:00:00.008Z
"""})

    def test_subclasses_that_reach_past_their_own_methods(self):
        self.check_notes({"app.js": """\
const { watch } = require('watcher')
class Lists extends Map { get(k) { if (!super.has(k)) super.set(k, []); return super.get(k) } plain() { return this.size } }
const lists = watch(new Lists(), { name: 'lists' })
lists.get('a')  //> lists[a] setitem: - -> []
lists.get('a').push(1)  //> lists[a][0] append: - -> 1
class Recent extends Map { get(k) { const v = super.get(k); if (super.delete(k)) super.set(k, v); return v }
  set(k, v) { this.delete(k)  //> recent[a] delitem: 1 -> -
    super.set(k, v); if (this.size > 2) super.delete(this.keys().next().value); return this } }
const recent = watch(new Recent([['a', 1], ['b', 2]]), { name: 'recent' })
recent.set('a', 3)  //> recent[a] setitem: - -> 3
recent.set('c', 4)  //> recent[c] setitem: - -> 4; recent[b] delitem: 2 -> -
console.log(recent.get('a'), [...recent], recent.get('none'), recent, lists.plain(), lists instanceof Lists, recent.set.length)
class Even extends Set { add(n) { if (n % 2) throw new RangeError('odd'); return super.add(n) } addAll(...all) { for (const n of all) this.add(n) } }  //> even add: - -> 4; even add: - -> 6
const even = watch(new Even([2]), { name: 'even' })
even.addAll(2, 4)
try { even.addAll(6, 7, 8) } catch (error) { console.log(error.message) }
console.log(even.add(8) === even, [...even], even)  //> even add: - -> 8
"""})

    def test_what_a_method_changed_behind_a_private_name_is_marked(self):
        program = "const { watch } = require('watcher')\nclass Kept { #s = 1; total = 0; add() { this.total += this.#s } }\n" \
                  "watch(new Kept(), { name: 'kept' }).add()\n"
        self.on_nodes({"app.js": program}, lambda run: self.assertEqual(
            [(e["line"], e["exact"], e.get("exact_line")) for e in run.events], [(3, False, False)]))

    def test_rare_forms(self):
        self.check_notes({"app.js": """\
const { watch } = require('watcher')
const s = watch({ n: 0, list: [3], d: { e: 1 }, get g() { return this.n }, set g(x) { this.n = x } }, { name: 's' });  //> s[n] setattr: 4 -> 8; s[n] setattr: 8 -> 9
({ a: s.n, b: s.list[0], ...s.rest } = { a: 5, b: 6, c: 7 })  //> s[n] setattr: 0 -> 5; s[list][0] setitem: 3 -> 6; s[rest] setattr: - -> { c: 7 }
for (s.n of [1, 2]) ;  //> s[n] setattr: 5 -> 1; s[n] setattr: 1 -> 2
s.n ??= 9; s.n ||= 9; s.n &&= 4; s.x ??= 5  //> s[n] setattr: 2 -> 4; s[x] setattr: - -> 5
s.g = 8; s.g++
console.log(delete s.nope, delete s.x, Reflect.deleteProperty(s, 'rest'))  //> s[x] delattr: 5 -> -; s[rest] delattr: { c: 7 } -> -
console.log(Reflect.set(s, 'n', 12, {}), Reflect.set({}, 'n', 13, s), Reflect.set(s, 'n', 14))  //> s[n] setattr: 9 -> 13; s[n] setattr: 13 -> 14
Object.defineProperties(s.d, { i: { value: 1, writable: true }, j: { value: 2 } })  //> s[d][i] setattr: - -> 1; s[d][j] setattr: - -> 2
Object.freeze(s.d); s.d.i = 3
s.list[3] = 1; s.list[2] = 2; s.list.named = 1  //> s[list][3] append: - -> 1; s[list][2] setitem: - -> 2; s[list][named] setattr: - -> 1
Array.prototype.push.apply(s.list, [4])  //> s[list][4] append: - -> 4; s[list][length] setattr: 5 -> 5
const twice = new Proxy(s, { set: (target, key, value, self) => Reflect.set(target, key, value * 2, self) })  //> s[n] setattr: 14 -> 42
twice.n = 21; console.log(s.n)
const child = Object.create(s); child.n = 99
;[s.d, s.list] = [s.list, s.d]  //> s[d] setattr: { e: 1 } -> [ 6, <empty>, 2, 1, 4 ]; s[list] setattr: [ 6, <empty>, 2, 1, 4 ] -> { e: 1 }
console.log(s, child.n, JSON.stringify(s), `${s.d}`)
"""})

    def test_private_names_of_another_instance(self):
        self.on_nodes({"app.js": """\
const { watch } = require('watcher')
class Money { #n; shown = 0; constructor(n) { this.#n = n }
  equals(other) { return this.#n === other.#n } take(other) { this.#n += other.#n; other.#n = 0; other.shown = 1; return this } }
const one = watch(new Money(1), { name: 'one' }), two = watch(new Money(1), { name: 'two' })
console.log(one.equals(two), one.equals(new Money(2)), one.take(two) === one, one.equals(two), two.shown)
"""}, lambda run: self.assertEqual([told(e) for e in run.events], ["two[shown] setattr: 0 -> 1"]))


class Memory(Case):
    """Typed arrays and buffers inside watched objects."""

    def test_stores_have_the_whole_path(self):
        self.check_notes({"app.js": """\
const { watch } = require('watcher')
class Frame { constructor() { this.pixels = new Float64Array(2); this.raw = { list: [Buffer.alloc(3)] } } }
const frame = watch(new Frame(), { name: 'frame' })
frame.pixels[1] = 5  //> frame[pixels][1] write: 0.0 -> 5.0
frame.raw.list[0].write('Z', 2)  //> frame[raw][list][0][2] write: 0 -> 90
frame.late = new Map()  //> frame[late] setattr: - -> Map(0) {}
frame.late.set('k', new Int16Array(1))  //> frame[late][k] setitem: - -> Int16Array(1) [ 0 ]
frame.late.get('k')[0] = -7  //> frame[late][k][0] write: 0 -> -7
frame.pixels.fill(1)  //> frame[pixels][0:2] write: [0.0, 5.0] -> [1.0, 1.0]
console.log(frame)
"""})

    def test_paths_follow_what_is_moved_and_end_with_what_is_taken_out(self):
        self.check_notes({"app.js": """\
const { watch, unwatch } = require('watcher')
const list = watch([new Uint8Array([1, 2]), new Uint8Array([3, 4])], { name: 'list' })
list.unshift(new Uint8Array(1))  //> list[0] appendleft: - -> Uint8Array(1) [ 0 ]
list[1][0] = 10  //> list[1][0] write: 1 -> 10
const gone = list.splice(1, 1)[0]  //> list[1:2] delitem: [ Uint8Array(2) [ 10, 2 ] ] -> -
gone[0] = 30
list[1][1] = 40  //> list[1][1] write: 4 -> 40
const b = new Uint8Array(2)
const one = watch({ b }, { name: 'one' }), two = watch([one], { name: 'two' })
b[0] = 1  //> one[b][0] write: 0 -> 1; two[0][b][0] write: 0 -> 1
unwatch(one)
b[1] = 2  //> two[0][b][1] write: 0 -> 2
two.pop()  //> two[0] pop: { b: Uint8Array(2) [ 1, 2 ] } -> -
b[0] = 3
const sent = watch({ bytes: new Uint8Array(8) }, { name: 'sent' })
structuredClone(sent.bytes.buffer, { transfer: [sent.bytes.buffer] })
sent.bytes = new Uint8Array(1)  //> sent[bytes] setattr: Uint8Array(0) [] -> Uint8Array(1) [ 0 ]
sent.bytes[0] = 1  //> sent[bytes][0] write: 0 -> 1
console.log(list, gone, b, sent)
"""})


class Graph(Case):
    def test_identity_inside_is_kept(self):
        self.on_nodes({"app.js": """\
const { watch } = require('watcher')
const shared = { n: 1 }
const state = watch({ a: shared, b: shared, list: [shared] }, { name: 'state' })
console.log(state.a === state.b, state.list[0] === state.a, state.list.includes(state.a), state.list.indexOf(state.b))
state.c = state.a
console.log(state.c === state.a, state.list.find((x) => x === state.b) === state.a)
const taken = state.list.pop()
console.log(taken === state.a, state.a === state.a)
state.self = state
console.log(state.self === state, state.self.self.a === state.a)
state.self.a.n = 2
"""}, lambda run: self.assertEqual(told(run.events[-1]), "state[a][n] setattr: 1 -> 2"))

    def test_several_variables_hold_one_object(self):
        self.on_nodes({"app.js": """\
const { watch, unwatch } = require('watcher')
const users = [{ name: 'a' }]
const state = watch({ users }, { name: 'state' }), all = watch(state.users, { name: 'all' })
all[0].name = 'b'
unwatch(all)
state.users[0].name = 'c'
unwatch(state)
state.users[0].name = 'd'
"""}, lambda run: self.assertEqual([told(e) for e in run.events], [
            "all[0][name] setattr: a -> b", "state[users][0][name] setattr: a -> b", "state[users][0][name] setattr: b -> c"]))

    def test_depth_ends_what_counts(self):
        program = "const { watch } = require('watcher')\nconst s = watch({ a: { b: { c: 1 } } }, { name: 's', depth: 2 })\n" \
                  "s.a.b.c = 2\ns.a.b = 3\ns.a = 4\n"
        self.on_nodes({"app.js": program}, lambda run: self.assertEqual([told(e) for e in run.events], [
            "s[a][b] setattr: { c: 2 } -> 3", "s[a] setattr: { b: 3 } -> 4"]))

    def test_pauses(self):
        program = "const { watch, pause, resume } = require('watcher')\nconst s = watch({ n: 0 }, { name: 's' })\n" \
                  "s.n = 1; pause(); s.n = 2; resume(); s.n = 3\n"
        self.on_nodes({"app.js": program}, lambda run: self.assertEqual([told(e) for e in run.events],
                                                                        ["s[n] setattr: 0 -> 1", "s[n] setattr: 2 -> 3"]))

    def test_an_object_is_followed_wherever_it_was_put(self):
        self.check_notes({"app.js": """\
const { watch } = require('watcher')
const one = watch({ job: { n: 0 }, done: [] }, { name: 'one' }), two = watch({ all: new Map(), some: new Set() }, { name: 'two', depth: 9 })
const { job } = one
two.all.set('j', { inside: [job] })  //> two[all][j] setitem: - -> { inside: [ { n: 0 } ] }
delete one.job  //> one[job] delattr: { n: 0 } -> -
job.n = 1  //> two[all][j][inside][0][n] setattr: 0 -> 1
one.done.push(job)  //> one[done][0] append: - -> { n: 1 }
job.n = 2  //> one[done][0][n] setattr: 1 -> 2; two[all][j][inside][0][n] setattr: 1 -> 2
two.some = new Set([job])  //> two[some] setattr: Set(0) {} -> Set(1) { { n: 2 } }
console.log(two.some.has(job), two.some.size, two.some.add(job).size, two.some.delete(job), two.some.size)  //> two[some] discard: { n: 2 } -> -
one.done = [...one.done].map((x) => x)  //> one[done] setattr: [ { n: 2 } ] -> [ { n: 2 } ]
console.log(one.done.includes(job), one.done.indexOf(job), one.done.lastIndexOf(job), one.done.includes({}))
const shared = { n: 0 }, twice = watch({ a: shared, b: { c: shared } }, { name: 'twice' }), { a } = twice
delete twice.a  //> twice[a] delattr: { n: 0 } -> -
a.n = 3  //> twice[b][c][n] setattr: 0 -> 3
"""})

    def test_copies_and_messages_are_those_of_the_object_itself(self):
        self.on_nodes({"app.js": """\
const { watch } = require('watcher')
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads'), v8 = require('v8')
if (!isMainThread) { parentPort.once('message', (m) => parentPort.postMessage(watch({ m, workerData }, { name: 'back' }))) } else {
const s = watch({ a: { b: [1, , 3] }, m: new Map([['k', { v: 1 }]]), d: new Date(0), st: new Set([{ q: 1 }]), get got() { return 1 } }, { name: 's' })
s.self = s; s.literal = [s.a, { x: s.d }]
console.log(structuredClone(s), structuredClone([s, s.a]), structuredClone(s.m), structuredClone.name, v8.deserialize(v8.serialize(s.literal)))
const memory = new ArrayBuffer(8), moved = structuredClone({ memory, s: s.a }, { transfer: [memory] }); console.log(memory.byteLength, moved)
for (const wrong of [() => {}, { get x() { throw new RangeError('g') } }]) try { structuredClone(wrong) } catch (e) { console.log(e.name, e.message) }
const worker = new Worker(__filename, { workerData: s.a }); worker.postMessage(s.literal); worker.on('message', (m) => console.log(m)) }
"""}, lambda run: None)


class Host(Case):
    def test_invariants_of_frozen_and_inherited_objects(self):
        self.on_nodes({"app.js": """\
'use strict'
const { watch } = require('watcher')
const frozen = watch(Object.freeze({ a: { b: 1 } }), { name: 'frozen' })
try { frozen.a = 1 } catch (e) { console.log(e.name) }
frozen.a.b = 2
console.log(frozen, Object.isFrozen(frozen), Object.getOwnPropertyDescriptors(frozen))
const base = watch({ n: 1, get double() { return this.n * 2 }, set double(x) { this.n = x / 2 } }, { name: 'base' })
const child = Object.create(base); child.n = 5; child.own = 1
console.log(base.n, child.n, base.double, child.double); base.double = 8
console.log(base.n, Object.keys(child), Object.freeze(watch({ x: [1] }, { name: 'late' })).x)
let setter; class A { set v(x) { setter = this } }
const a = watch(new A(), { name: 'a' }); a.v = 1; console.log(setter === a)
for (const value of [1, 'x', null, undefined, Symbol.iterator, () => 1]) console.log(watch(value, { name: 'no' }) === value)
console.log(require('util').isDeepStrictEqual(watch({ a: [1] }, { name: 'e' }), { a: [1] }), `${watch([1, [2]], { name: 's' })}`)
"""}, lambda run: self.assertEqual([told(e) for e in run.of("base")], ["base[n] setattr: 1 -> 4"]), options=["--log-level", "ERROR"])

    def test_methods_of_a_subclass_are_called(self):
        self.check_notes({"app.js": """\
const { watch } = require('watcher')
class Upper extends Map { set(key, value) { return super.set(key.toUpperCase(), value) } }
const map = watch(new Upper([['a', 1]]), { name: 'map' })
map.set('b', 2)  //> map[B] setitem: - -> 2
map.delete('A')  //> map[A] delitem: 1 -> -
console.log(map, map instanceof Upper, map.size)
"""})

    def test_tasks_are_async_ids(self):
        program = """\
const { watch } = require('watcher')
const { executionAsyncId } = require('async_hooks')
const s = watch({ id: 0 }, { name: 's', trackThreads: true })
const note = () => { s.id = executionAsyncId() }
note()
setTimeout(note, 1)
setImmediate(async () => { note(); await null; note() })
Promise.resolve().then(note)
"""
        def check(run):
            self.assertEqual([e["task"] for e in run.events], [f"async {e['after']['value']}" for e in run.events])
            self.assertEqual(len({e["task"] for e in run.events}), 5)

        self.on_nodes({"app.js": program}, check)

    def test_modules_and_workers(self):
        files = {"main.mjs": """\
import { watch } from 'watcher'
import { Worker, isMainThread, parentPort } from 'node:worker_threads'
const state = watch({ n: 0 }, { name: 'state' })
if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url))
  worker.on('message', (m) => { state.n = m })
} else { state.n = 1; parentPort.postMessage(state.n + 1) }
"""}
        self.on_nodes(files, lambda run: self.assertEqual(sorted(told(e) for e in run.events),
                                                          ["state[n] setattr: 0 -> 1", "state[n] setattr: 0 -> 2"]))


if __name__ == "__main__":
    main()
