"""Random JavaScript programs, each in two texts: as a programmer writes it, and with every store spelt out and told by the
program itself. What is told is what Watcher must record of the first text.

Names say what the rules want of them: `_w` is watched everywhere, `_l` as a local, `_g` as a global, `_u` nowhere.
"""

from node_oracle_texts import TELLING, Texts, Variable

RULES = '[[watch]]\nfile = "ora_*"\nboth = ["*_w", "*.f?"]\nlocal = ["*_l"]\nglobal = ["*_g"]\n'
MOST_CALLS = 300


class Program(Texts):
    """Statements and functions; write() gives both texts of a file."""

    # --- statements

    def block(self, statements, depth):
        self.variables.append({})
        self.functions.append([])
        for _ in range(statements):
            self.statement(depth)
        self.functions.pop()
        self.variables.pop()

    def statement(self, depth):
        kinds = [self.declaration, self.expression, self.expression, self.pattern, self.swap, self.big, self.show]
        if depth > 0:
            kinds += [self.declaration, self.expression, self.branch, self.loop, self.each, self.attempt, self.switch, self.shadow, self.closure]
            kinds += [self.function, self.arrow, self.walker, self.shape] if len(self.where) < 3 else []
            kinds += [self.wait] if self.asynchronous[-1] else []
            kinds += [self.give] * 2 if self.generating[-1] else []
        self.random.choice(kinds)(depth - 1)

    def declaration(self, depth):
        value, kind = self.number(), self.random.choice(["let", "let", "const", "var"])
        variable = self.declare(fixed=kind == "const")
        x = variable.name
        if kind == "let" and self.random.random() < 0.15:
            return self.put(f"let {x}")
        before = "undefined" if kind == "var" else "none$"
        if kind == "var":  # a loop comes by again
            t = self.temp()
            return self.put(f"var {x} = {value[0]}", f"{t} = {value[1]}; var {x}; {self.tell(variable, x, t)}; {x} = {t}")
        self.put(f"{kind} {x} = {value[0]}", f"{kind} {x} = {value[1]}; {self.tell(variable, before, x)}")

    def expression(self, depth):
        stored = self.store()
        if stored:
            self.put(stored[0], ";" + stored[1])

    def show(self, depth):
        value = self.number(1)
        self.put(f"console.log({value[0]})", f"console.log({value[1]})")

    def big(self, depth):
        x = self.declare("big")
        start, factor = self.random.randrange(9), self.random.randrange(-5, 1 << 70)
        told = [f"let {x.name} = {start}n; {self.tell(x, 'none$', x.name)}"]
        for now in (f"{x.name} + 1n", f"{x.name} * {factor}n"):
            told.append(f"{self.tell(x, x.name, now)}; {x.name} = {now}")
        self.put(f"let {x.name} = {start}n; {x.name}++; {x.name} *= {factor}n", "; ".join(told))

    def pattern(self, depth):
        one, two, three = (self.number(1) for _ in range(3))
        a, b = self.declare(), self.declare()
        c = self.declare("list")
        target = f"{{ {a.name} = 8, p: [{b.name}, ...{c.name}] }}"
        texts = [f"{{ {a.name}: {one[i]}, p: [{two[i]}, {three[i]}] }}" for i in (0, 1)]
        tells = "; ".join(self.tell(v, "none$", v.name) for v in (a, b, c))
        self.put(f"let {target} = {texts[0]}", f"let {target} = {texts[1]}; {tells}")

    def swap(self, depth):
        one, two = self.pick(store=True), self.pick(store=True)
        if one is None:
            return
        first, default, some = self.number(1), self.number(1), self.random.choice(["undefined", "4"])
        t, v = self.temp(), self.temp()
        told = f";{t} = [{first[1]}, {some}]; {self.tell(one, one.name, t + '[0]')}; {one.name} = {t}[0]; " \
               f"{v} = {t}[1] === undefined ? {default[1]} : {t}[1]; {self.tell(two, two.name, v)}; {two.name} = {v}"
        if self.random.random() < 0.5:
            return self.put(f";[{one.name}, {two.name} = {default[0]}] = [{first[0]}, {some}]", told)
        self.put(f";({{ k: {one.name}, l: {two.name} = {default[0]} }} = {{ k: {first[0]}, l: {some} }})", told)

    def shadow(self, depth):
        variable = self.pick()
        if variable is None:
            return
        self.put("{")
        self.variables.append({})
        inner = self.declare(name=variable.name)
        self.put(f"let {inner.name} = 6", f"let {inner.name} = 6; {self.tell(inner, 'none$', inner.name)}")
        self.block(2, depth)
        self.variables.pop()
        self.put("}")

    def branch(self, depth):
        test = self.number(1)
        self.put(f"if ({test[0]} > 3) {{", f"if ({test[1]} > 3) {{")
        self.block(2, depth)
        self.put("} else {")
        self.block(1, depth)
        self.put("}")

    def switch(self, depth):
        test = self.number(1)
        self.put(f"switch ({test[0]}) {{", f"switch ({test[1]}) {{")
        for case in ("case 1:", "case 5: {", "default: {"):
            self.put(case)
            if case.endswith("{"):
                self.block(1, depth)
                self.put("}")
            else:
                self.expression(depth)
        self.put("}")

    def loop(self, depth):
        self.variables.append({})
        i, t = self.declare(fixed=True), self.temp()
        x, end = i.name, self.random.randrange(1, 4)
        self.put(f"for (let {x} = 0; {x} < {end}; {x}++) {{",
                 f"for (let {x} = 0, z$ = {self.tell(i, 'none$', '0')}; {x} < {end}; ({t} = {x} + 1, {self.tell(i, x, t)}, {x} = {t})) {{")
        self.block(2, depth)
        self.put("}")
        self.variables.pop()

    def each(self, depth):
        values = [self.number(1) for _ in range(self.random.randrange(1, 4))]
        lists = [f"[{', '.join(v[i] for v in values)}]" for i in (0, 1)]
        kind = self.random.choice(["let", "const", "var", ""])
        self.variables.append({})
        x = self.pick(store=True) if kind == "" else self.declare(fixed=kind == "const")
        if x is None:
            self.variables.pop()
            return
        head = f"{kind} {x.name}".strip()
        if kind in ("let", "const"):
            self.put(f"for ({head} of {lists[0]}) {{", f"for ({head} of {lists[1]}) {{ {self.tell(x, 'none$', x.name)};")
        else:
            declared = f"var {x.name}; " if kind else ""
            self.put(f"for ({head} of {lists[0]}) {{",
                     f"{declared}for (const v$ of {lists[1]}) {{ {self.tell(x, x.name, 'v$')}; {x.name} = v$;")
        self.block(2, depth)
        self.put("}")
        self.variables.pop()

    def attempt(self, depth):
        self.put("try {")
        self.block(1, depth)
        value = self.number(1)
        self.put(f"throw {value[0]}", f"throw {value[1]}")
        self.variables.append({})
        e = self.declare()
        self.put(f"}} catch ({e.name}) {{", f"}} catch ({e.name}) {{ {self.tell(e, 'none$', e.name)};")
        self.block(1, depth)
        self.variables.pop()
        self.put("} finally {")
        self.block(1, 0)
        self.put("}")

    def closure(self, depth):
        variable = self.pick(store=True)
        if variable is None:
            return
        name = self.fresh("k", "_u")
        self.where.append(name)
        self.temps.append([])
        stored = self.store(1)
        temps = self.temps.pop()
        self.where.pop()
        declared = f"let {', '.join(temps)}; " if temps else ""
        self.put(f"const {name} = () => {stored[0]}; {name}(); {name}()",
                 f"const {name} = () => {{ {declared}return {stored[1]} }}; {name}(); {name}()")

    # --- functions

    def enter(self, name, asynchronous=False, generating=False):
        self.where.append(name)
        self.variables.append({})
        self.temps.append([])
        self.asynchronous.append(asynchronous)
        self.generating.append(generating)

    def leave(self):
        for row in (self.where, self.variables, self.asynchronous, self.generating):
            row.pop()
        return self.temps.pop()

    def parameters(self):
        """(text, what tells them, how many)"""
        a, b = self.declare(), self.declare()
        rest = self.declare("list")
        text = f"{a.name}, {{ {b.name} }} = {{ {b.name}: 3 }}, ...{rest.name}" if self.random.random() < 0.3 else f"{a.name}, {b.name} = 2"
        told = (a, b, rest) if "..." in text else (a, b)
        if len(told) == 2:
            del self.variables[-1][rest.name]
        return text, "; ".join(self.tell(v, "none$", v.name) for v in told), 1 if len(told) == 3 else 2

    def body(self, head, returns="return", **kind):
        """A function's lines; `head` has a place for its parameters."""
        text, tells, arity = self.parameters()
        self.put(head.replace("()", f"({text})", 1), head.replace("()", f"({text})", 1) + f" {tells};")
        place = self.reserve()
        self.put(f"if (++calls$ > {MOST_CALLS}) return 0")
        self.functions.append([])
        for _ in range(self.random.randrange(1, 5)):
            self.statement(2)
        self.functions.pop()
        value = self.number(1)
        self.put(f"return {value[0]}", f"return {value[1]}")
        self.fill(place, self.leave())
        return arity

    def function(self, depth):
        name = self.fresh("f", "_u")
        form = self.random.choice([f"function {name}() {{", f"const {name} = function () {{", f"const {name} = () => {{"])
        self.enter(name)
        arity = self.body(form.replace("function ()", "function()"))
        self.put("}")
        self.functions[-1].append((name, arity))

    def arrow(self, depth):
        name = self.fresh("f", "_u")
        self.enter(name)
        text, tells, arity = self.parameters()
        value = self.number()
        temps = self.leave()
        declared = f"let {', '.join(temps)}; " if temps else ""
        self.put(f"const {name} = ({text}) => {value[0]}", f"const {name} = ({text}) => {{ {declared}{tells}; return {value[1]} }}")
        self.functions[-1].append((name, arity))

    def walker(self, depth):
        name = self.fresh("g", "_u")
        self.enter(name, generating=True)
        self.body(f"function* {name}() {{")
        self.put("}")
        value = self.number(1)
        self.variables.append({})
        x = self.declare()
        self.put(f"for (const {x.name} of {name}({value[0]})) {{", f"for (const {x.name} of {name}({value[1]})) {{ {self.tell(x, 'none$', x.name)};")
        x.fixed = True
        self.block(1, 0)
        self.put("}")
        self.variables.pop()

    def give(self, depth):
        value = self.number(1)
        self.put(f"yield {value[0]}", f"yield {value[1]}")

    def wait(self, depth):
        name = self.fresh("s", "_u")
        called = self.random.random() < 0.4 and len(self.where) < 3
        if called:
            self.enter(name, asynchronous=True)
            self.body(f"async function {name}() {{")
            self.put("}")
        value = tuple(f"{name}({part})" if called else part for part in self.number(1))
        variable = self.pick(store=True)
        if variable is None:
            return self.put(f"await {value[0]}", f"await {value[1]}")
        x, old, t = variable.name, self.temp(), self.temp()
        self.put(f"{x} += await {value[0]}", f"{old} = {x}; {t} = {old} + await {value[1]}; {self.tell(variable, x, t)}; {x} = {t}")

    def shape(self, depth):
        name, field = self.fresh("C", "_u"), Variable("f1_w", "number", False, False)
        self.where.append(name)
        t, u = self.temp(), self.temp()
        self.put(f"class {name} {{")
        one = self.number(1)
        self.put(f"f1 = {one[0]}", f"f1 = ({t} = {one[1]}, {self.tell(field, 'none$', t, 'f1')}, {t})")
        two = self.number(1)
        self.put(f"static f2 = {two[0]}", f"static f2 = ({u} = {two[1]}, {self.tell(field, 'none$', u, 'f2')}, {u})")
        self.enter("run")
        self.put("run() {")
        place = self.reserve()
        for _ in range(2):
            stored = self.random.choice([self.assign, self.compound, self.update, self.logical])(field, "this.f1", 1, "f1")
            self.put(stored[0], ";" + stored[1])
        self.put("return this.f1")
        self.fill(place, self.leave())
        self.put("}")
        self.put("}")
        self.where.pop()
        self.put(f"console.log(new {name}().run(), {name}.f2)")

    def write(self, programs):
        """One file's two texts: statements at the top level, and programs that are functions."""
        for _ in range(programs):
            self.put("calls$ = 0")
            self.statement(2)
            self.function(2)
            name, arity = self.functions[-1][-1]
            values = ", ".join(str(self.random.randrange(9)) for _ in range(arity))
            self.put(f"console.log({name}({values}))")
        self.fill(self.top, self.temps[0])
        return "\n".join(self.plain) + "\n", self.told_text()

    def told_text(self):
        load = "import { writeFileSync as write$ } from 'node:fs'" if self.is_module else "const { writeFileSync: write$ } = require('fs')"
        return "\n".join([load, TELLING.rstrip(), *self.told]) + "\n"
