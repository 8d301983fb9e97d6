"""Random JavaScript programs that change watched objects, with what Watcher must record of each change.

The objects are modelled here, in Python: a statement is written and carried out on the model at once. What the program prints at its
end is compared with the model, too, so that a wrong model is no fault of Watcher's.
"""

import json
import random

from node_oracle_arrays import Arrays
from node_oracle_model import ANY, CLASS, HOLE, UNDEFINED, Big, Box, add_to, date_text, index_in, reaches, shown, text

HEAD = """\
{load}
class Thing {{
  constructor(n) {{ this.n = n; this.list = [] }}
  bump(n) {{ this.n = n; return this }}
  set twice(n) {{ this.n = 2 * n }}
}}
const text$ = (v, depth = 0, around = []) => {{
  if (typeof v !== 'object' || v === null) return typeof v === 'string' ? JSON.stringify(v) : typeof v === 'bigint' ? `${{v}}n` : `${{v}}`
  if (around.includes(v)) return '[Circular]'
  if (v instanceof Date) return v.toISOString()
  if (depth >= 4) return `[${{v.constructor.name}}]`
  const inner = [...around, v], of = (x) => text$(x, depth + 1, inner)
  const all = (head, rows, open = '{{', close = '}}') => rows.length ? `${{head}}${{open}} ${{rows.join(', ')}} ${{close}}` : `${{head}}${{open}}${{close}}`
  if (Array.isArray(v)) return all('', Array.from(v, (x, i) => i in v ? of(x) : '<empty>'), '[', ']')
  if (v instanceof Map) return all(`Map(${{v.size}}) `, Array.from(v, ([k, x]) => `${{of(k)}} => ${{of(x)}}`))
  if (v instanceof Set) return all(`Set(${{v.size}}) `, Array.from(v, of))
  return all(v.constructor === Object ? '' : `${{v.constructor.name}} `, Object.keys(v).map((k) => `${{k}}: ${{of(v[k])}}`))
}}"""
LINES_OF_CLASS = {"bump": 4, "twice": 5}


class Objects(Arrays):
    def __init__(self, seed, is_module):
        self.random, self.is_module = random.Random(seed), is_module
        load = "import { watch, unwatch } from 'watcher'" if is_module else "const { watch, unwatch } = require('watcher')"
        self.lines = HEAD.format(load=load).split("\n")
        self.expected = []  # a change: [(variable, [paths], op, before, after, line, function)]
        self.printed = []
        self.count = 0
        self.templates = {}  # literals: what is stored is a copy

    def fresh(self, stem):
        self.count += 1
        return f"{stem}{self.count}"

    # --- values: (JavaScript, model)

    def scalar(self):
        some = self.random.randrange(12)
        if some < 6:
            return (str(some * 7),) + (some * 7,)
        if some < 9:
            word = self.random.choice(["x", "word", "q q", "ä", ""])
            return json.dumps(word, ensure_ascii=False), word
        return [("null", None), ("undefined", UNDEFINED), ("true", True), (f"{2**70}n", Big(2**70))][self.random.randrange(4)]

    def literal(self, depth):
        kind = self.random.choice(["object", "object", "array", "array", "map", "set", CLASS, "date"])
        if kind == "date":
            ms = self.random.randrange(10**6)
            return f"new Date({ms})", Box("date", ms)
        if kind == CLASS:
            n = self.random.randrange(9)
            row = Box("array", [])
            self.templates[id(row)] = row
            return f"new Thing({n})", Box(CLASS, {"n": n, "list": row})
        parts = [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        texts, values = [part[0] for part in parts], [part[1] for part in parts]
        if kind == "array":
            return f"[{', '.join(texts)}]", Box(kind, values)
        if kind == "set":
            box = Box(kind, [])
            for value in values:
                add_to(box, value)
            return f"new Set([{', '.join(texts)}])", box
        keys = self.random.sample("abcdef", len(parts))
        box = Box(kind, dict(zip(keys, values)))
        if kind == "map":
            return f"new Map([{', '.join(f'[{json.dumps(k)}, {t}]' for k, t in zip(keys, texts))}])", box
        return f"{{ {', '.join(f'{k}: {t}' for k, t in zip(keys, texts))} }}" if parts else "{}", box

    def value(self, depth=2):
        some = self.random.random()
        if depth <= 0 or some < 0.6:
            return self.scalar()
        if some > 0.88 and self.shares and self.bases:
            self.repeatable = False
            return self.place()
        content, box = self.literal(depth)
        self.templates[id(box)] = box
        return content, box

    # --- places: an expression that gives a container, and the container

    def place(self, kinds=None):
        for _ in range(20):
            expression, box = self.random.choice(self.bases)
            while self.random.random() < 0.7:
                inner = [(how, value) for _, value, how in box.holdings() if isinstance(value, Box)]
                if not inner:
                    break
                how, value = self.random.choice(inner)
                expression = f"[...{expression}][{how}]" if isinstance(how, int) else expression + how
                box = value
            if kinds is None or box.kind in kinds:
                return expression, box
        return None

    def paths(self, root, box):
        """The shortest ones, of which one must be told."""
        row, seen = [((), root)], {id(root)}
        while row:
            found = [path for path, at in row if at is box]
            if found:
                return found
            row = [((*path, step), value) for path, at in row for step, value, _ in at.holdings() if isinstance(value, Box) and id(value) not in seen]
            seen.update(id(value) for _, value in row)
        return []

    # --- statements

    def tell(self, box, op, step, before, after, line=None, function=None):
        group = []
        for name, (root, depth) in self.roots.items():
            paths = [path for path in self.paths(root, box) if len(path) < depth]
            if paths:
                paths = [list(path) + ([] if step is None else [step]) for path in paths]
                group.append((name, paths, op, before, after, line or self.line, function or self.function))
        if group:
            self.expected.append(group)

    def shown_in(self, box, value):
        """A value that holds what it is put into shows it as it is at some moment."""
        return ANY if isinstance(value, Box) and reaches(value, box) else shown(value)

    def stored(self, box, op, step, before, after):
        self.tell(box, op, step, "-" if before is HOLE else self.shown_in(box, before), "-" if after is HOLE else self.shown_in(box, after))

    def statement(self):
        kinds = {"object": self.on_object, CLASS: self.on_object, "array": self.on_array, "map": self.on_map, "set": self.on_set, "date": self.on_date}
        expression, box = self.place()
        self.small = box.kind not in ("array", "set")
        self.repeatable = "." not in expression and "[" not in expression
        text, run = kinds[box.kind](expression, box)
        self.put(text, run)

    def put(self, text, run):
        """As it stands, in a function, or in a loop."""
        self.line, self.function, times = len(self.lines) + 1, "<module>", 1
        form = self.random.random()
        name = self.fresh("f")
        if self.repeatable and form < 0.2:
            times = 300 if form < 0.01 and self.small else 3
            self.lines.append(f"for (let i = 0; i < {times}; i++) {{ {text} }}")
        elif form < 0.5:
            self.function = name
            self.lines += [f"{self.random.choice([f'function {name}() {{', f'const {name} = () => {{'])} {text} }}", f"{name}()"]
        else:
            self.lines.append(text if text[0] not in "([`" else ";" + text)
        for _ in range(times):
            run()

    def same(self, value):
        """A literal makes a new object each time."""
        if id(value) not in self.templates:
            return value
        if value.kind == "date":
            return Box("date", value.data)
        if value.kind in ("array", "set"):
            return Box(value.kind, [self.same(part) for part in value.data])
        return Box(value.kind, {key: self.same(part) for key, part in value.data.items()})

    def on_object(self, e, box):
        key, (text, value) = self.random.choice("abcdefn"), self.value()
        held = box.data.get(key, HOLE)

        def put(at=key, new=None):
            new = self.same(value) if new is None else new
            before, box.data[at] = box.data.get(at, HOLE), new
            self.stored(box, "setattr", at, before, new)

        def remove():
            if key in box.data:
                before = box.data.pop(key)
                self.stored(box, "delattr", key, before, HOLE)

        def several():
            put()
            put("g", 3)

        def twice():
            for one in (1, 2):
                put(new=one)

        def unless():
            if box.data.get(key, None) in (None, UNDEFINED):
                put()

        def count():
            put(new=box.data[key] + 1)

        forms = [(f"{e}.{key} = {text}", put)] * 4 + [(f"delete {e}.{key}", remove)] * 2 + [
            (f"{e}[{json.dumps(key)}] = {text}", put), (f"Reflect.set({e}, '{key}', {text})", put),
            (f"Object.assign({e}, {{ {key}: {text}, g: 3 }})", several),
            (f"Object.defineProperty({e}, '{key}', {{ value: {text}, writable: true, configurable: true, enumerable: true }})", put),
            (f"({{ y: {e}.{key} }} = {{ y: {text} }})", put), (f"{e}.{key} ??= {text}", unless), (f"Reflect.deleteProperty({e}, '{key}')", remove)]
        if self.repeatable:  # the place is looked up at each turn
            forms.append((f"for ({e}.{key} of [1, 2]) ;", twice))
        if type(held) is int:
            forms += [(f"{e}.{key}++", count), (f"{e}.{key} += 1", count)] * 3
        if box.kind == CLASS:
            forms += [self.method(e, box)] * 4
        return self.random.choice(forms)

    def method(self, e, box):
        n, name = self.random.randrange(50), self.random.choice(["bump", "twice"])

        def run():
            before, box.data["n"] = box.data.get("n", HOLE), 2 * n if name == "twice" else n
            told = ["-" if before is HOLE else self.shown_in(box, before), shown(box.data["n"])]
            self.tell(box, "setattr", "n", *told, line=LINES_OF_CLASS[name], function=ANY)

        return (f"{e}.bump({n})" if name == "bump" else f"{e}.twice = {n}"), run

    def on_map(self, e, box):
        key, (text, value) = self.random.choice(["a", "b", "k k", 7]), self.value()

        def put():
            new = self.same(value)
            before, box.data[key] = box.data.get(key, HOLE), new
            self.stored(box, "setitem", key, before, new)

        def remove():
            if key in box.data:
                self.stored(box, "delitem", key, box.data.pop(key), HOLE)

        return self.random.choice([(f"{e}.set({json.dumps(key)}, {text})", put)] * 3 + [(f"{e}.delete({json.dumps(key)})", remove),
                                                                                     (f"{e}.clear()", lambda: self.clear(box))])

    def clear(self, box):
        before = text(box)
        box.data.clear()
        self.tell(box, "clear", None, before, text(box))

    def on_set(self, e, box):
        content, value = self.value()

        def add():
            new = self.same(value)
            if add_to(box, new):
                self.stored(box, "add", None, HOLE, new)

        def remove():
            at = index_in(box.data, value)
            if at is not None:
                self.stored(box, "discard", None, box.data.pop(at), HOLE)

        forms = [(f"{e}.add({content})", add)] * 3 + [(f"{e}.clear()", lambda: self.clear(box))]
        return self.random.choice(forms + ([] if id(value) in self.templates else [(f"{e}.delete({content})", remove)] * 2))

    def on_date(self, e, box):
        ms = self.random.randrange(10**6)

        def run():
            before, box.data = box.data, ms
            if before != ms:
                self.tell(box, "change", None, date_text(before), date_text(ms))

        return f"{e}.setTime({ms})", run

    # --- a program

    def begin(self):
        """New roots, which the one before has no part in."""
        self.shares = self.random.random() < 0.7
        self.roots, self.bases = {}, []
        for _ in range(self.random.randrange(1, 3) if self.shares else 1):
            self.root()

    def root(self):
        while True:
            content, box = self.literal(3)
            if box.kind != "date":
                break
        self.templates[id(box)] = box
        name, depth = self.fresh("r"), 30 if self.shares else self.random.randrange(1, 5)
        self.lines.append(f"const {name} = watch({content}, {{ name: '{name}', depth: {depth} }})")
        self.roots[name] = (self.same(box), depth)
        self.bases.append((name, self.roots[name][0]))

    def alias(self):
        found = self.place(("object", "array", "map", "set", CLASS))
        if found is None:
            return
        expression, box = found
        name = self.fresh("v")
        again = self.random.random() < 0.3
        self.lines.append(f"const {name} = " + (f"watch({expression}, {{ name: '{name}', depth: 30 }})" if again else expression))
        self.bases.append((name, box))
        if again:
            self.roots[name] = (box, 30)

    def forget(self):
        name, box = self.random.choice(self.bases)
        self.lines.append(f"unwatch({name})")
        self.roots = {name: row for name, row in self.roots.items() if row[0] is not box}

    def end(self):
        for name, box in self.bases:
            self.lines.append(f"console.log(text$({name}))")
            self.printed.append(text(box))

    def write(self, programs):
        for _ in range(programs):
            self.begin()
            for _ in range(self.random.randrange(5, 25)):
                some = self.random.random()
                if self.shares and some < 0.15:
                    self.alias()
                elif self.shares and some < 0.17:
                    self.forget()
                else:
                    self.statement()
            self.end()
        return "\n".join(self.lines) + "\n"
