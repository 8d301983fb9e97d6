"""The two texts of a random JavaScript program, its names and its expressions: see node_oracle_programs.py."""

import random

COUNTING = "let calls$ = 0\n"
TELLING = """\
const told$ = [], none$ = {}
const text$ = (v) => Array.isArray(v) ? v.length ? `[ ${v.map(text$).join(', ')} ]` : '[]' : typeof v === 'bigint' ? `${v}n` : Object.is(v, -0) ? '-0' : `${v}`
const tell$ = (name, line, where, scope, before, after) => { told$.push([name, line, where, scope, before === none$ ? '-' : text$(before), text$(after)]) }
process.on('exit', () => write$(process.env.TOLD, JSON.stringify(told$)))
"""


class Variable:
    def __init__(self, name, kind, fixed, is_global):
        self.name, self.kind, self.fixed = name, kind, fixed
        wanted = name.endswith("_w") or name.endswith("_g" if is_global else "_l")
        self.scope = ("global" if is_global else "local") if wanted else None


class Texts:
    """Both texts grow together, a line at a time: self.plain and self.told."""

    def __init__(self, seed, is_module):
        self.random = random.Random(seed)
        self.is_module = is_module
        self.plain, self.told = [COUNTING.strip()], [COUNTING.strip()]
        self.variables, self.functions = [{}], [[]]
        self.where, self.asynchronous, self.generating = [], [is_module], [False]
        self.temps = [[]]
        self.top = self.reserve()
        self.count = 0

    # --- text

    @property
    def line(self):
        return len(self.plain) + 1

    def put(self, plain, told=None):
        self.plain.append(plain)
        self.told.append(plain if told is None else told)

    def reserve(self):
        """A line of the second text that declares temporaries, once they are known."""
        self.put("", "")
        return len(self.told) - 1

    def fill(self, place, temps):
        if temps:
            self.told[place] += f" let {', '.join(temps)};"

    def fresh(self, stem, suffix=""):
        self.count += 1
        return f"{stem}{self.count}{suffix}"

    def temp(self):
        self.temps[-1].append(self.fresh("t$"))
        return self.temps[-1][-1]

    def tell(self, variable, before, after, name=None):
        if variable.scope is None:
            return "0"
        where = ".".join(self.where) or "<module>"
        return f"tell$('{name or variable.name}', {self.line}, '{where}', '{variable.scope}', {before}, {after})"

    # --- names

    def declare(self, kind="number", fixed=False, name=None):
        name = name or self.fresh(self.random.choice("abcde"), self.random.choice(["_w", "_w", "_w", "_l", "_g", "_u"]))
        self.variables[-1][name] = variable = Variable(name, kind, fixed, not self.where)
        return variable

    def visible(self, kind="number", store=False):
        seen, found = set(), []
        for row in reversed(self.variables):
            found += [v for name, v in row.items() if name not in seen and v.kind == kind and not (store and v.fixed)]
            seen.update(row)
        return found

    def pick(self, store=False):
        found = self.visible(store=store)
        return self.random.choice(found) if found else None

    # --- expressions: (plain, told)

    def number(self, depth=2):
        choice = self.random.randrange(9 if depth > 0 else 3)
        if choice == 0 or (choice < 3 and not self.visible()):
            return (str(self.random.randrange(10)),) * 2
        if choice in (1, 2):
            return (self.pick().name,) * 2
        if choice in (3, 4):
            left, right = self.number(depth - 1), self.number(depth - 1)
            operator = self.random.choice("+-*")
            return tuple(f"(({left[i]} {operator} {right[i]}) % 97)" for i in (0, 1))
        if choice == 5:
            test, one, two = (self.number(depth - 1) for _ in range(3))
            return tuple(f"({test[i]} > 2 ? {one[i]} : {two[i]})" for i in (0, 1))
        found = self.call(depth) if choice == 6 else None
        if found is None and (stored := self.store(depth - 1)):
            found = tuple(f"({part})" for part in stored)
        return found or ("5", "5")

    def call(self, depth):
        usable = [f for row in self.functions for f in row]
        if not usable:
            return None
        name, arity = self.random.choice(usable)
        values = [self.number(depth - 1) for _ in range(self.random.randrange(arity + 2))]
        return tuple(f"{name}({', '.join(value[i] for value in values)})" for i in (0, 1))

    def store(self, depth=2):
        variable = self.pick(store=True)
        if variable is None:
            return None
        return self.random.choice([self.assign, self.assign, self.compound, self.logical, self.update])(variable, variable.name, depth)

    def assign(self, variable, x, depth, name=None):
        value, t = self.number(depth), self.temp()
        return f"{x} = {value[0]}", f"({t} = {value[1]}, {self.tell(variable, x, t, name)}, {x} = {t})"

    def compound(self, variable, x, depth, name=None):
        value, old, t = self.number(depth), self.temp(), self.temp()
        operator = self.random.choice("+-*|^")
        return (f"{x} {operator}= {value[0]}",
                f"({old} = {x}, {t} = {old} {operator} ({value[1]}), {self.tell(variable, x, t, name)}, {x} = {t})")

    def logical(self, variable, x, depth, name=None):
        value, t = self.number(depth), self.temp()
        operator = self.random.choice(["||", "&&", "??"])
        return f"{x} {operator}= {value[0]}", f"({x} {operator} ({t} = {value[1]}, {self.tell(variable, x, t, name)}, {x} = {t}))"

    def update(self, variable, x, depth, name=None):
        old, t = self.temp(), self.temp()
        sign, prefix = self.random.choice("+-"), self.random.random() < 0.5
        told = f"({old} = {x}, {t} = {old} {sign} 1, {self.tell(variable, old, t, name)}, {x} = {t}, {t if prefix else '+' + old})"
        return (f"{sign}{sign}{x}" if prefix else f"{x}{sign}{sign}"), told
