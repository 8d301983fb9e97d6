"""Whole programs: functions of every kind, and what calls them."""

from oracle_containers import DICTS, LISTS, SETS
from oracle_programs import NAMES, Scope, Writer

MODULE = "<module>"
FUNCTIONS_A_FILE = 50


class Program(Writer):
    def __init__(self, seed, file, modules):
        super().__init__(seed, file)
        self.modules = modules
        self.module = Scope(MODULE, NAMES, "module")

    def write(self, functions=FUNCTIONS_A_FILE):
        kinds = [self.plain, self.plain, self.plain, self.recursion, self.closure, self.closure, self.generator, self.generator, self.coroutine,
                 self.class_body, self.anonymous, self.globals_user, self.threads, self.outlive, self.other_module, self.watch_call, self.matcher, self.group, self.generic]
        for index in range(functions):
            self.pick(kinds)()
            if index % 5 == 0:
                with self.block("try:"):
                    self.forget(self.module)
                    self.statements(self.module, 1)
                with self.block("except Boom:"):
                    self.add("pass")
                self.forget(self.module)
        return "\n".join(self.lines) + "\n"

    # ---- functions

    def argument(self, kind):
        return self.pick({"list": LISTS, "dict": DICTS, "set": SETS}[kind]) if kind else self.value()

    def function(self, name, parent, kind="plain", captured=(), outside=(), body=None, depth=2, extra="", optional=40):
        """Writes one; returns how to call it. `captured` are its closure variables, `outside` those declared `global` or `nonlocal`."""
        prefix = "" if parent is self.module else parent.qualified + (".<locals>." if parent.kind != "class" else ".")
        names = [n for n in NAMES if n not in dict(outside)]
        scope = Scope(prefix + name, NAMES, kind, parent=parent)
        scope.declared = set(dict(outside))
        scope.captured = captured
        parameters = self.random.sample(names, self.random.randint(0, min(3, len(names))))
        kinds = {p: self.pick(["list", "dict", "set", None, None]) for p in parameters}
        defaults = [p for p in parameters if self.chance(optional)]
        parameters = [p for p in parameters if p not in defaults] + defaults
        rest = [n for n in names if n not in parameters]
        variadic = [rest[0]] if rest and self.chance(20) and not extra else []
        keywords = [rest[-1]] if len(rest) > 1 and self.chance(20) else []
        head = [extra] * bool(extra) + [p + (f"={self.argument(kinds[p])}" if p in defaults else "") for p in parameters]
        head += ["*" + v for v in variadic] + ["**" + k for k in keywords]
        with self.block(f"{'async ' if kind == 'async' else ''}def {name}({', '.join(head)}):") as line:
            for keyword in ("global", "nonlocal"):
                declared = [n for n, k in outside if k == keyword]
                if declared:
                    self.add(f"{keyword} {', '.join(declared)}")
                    self.add("; ".join(f"_{n}" for n in declared))  # as long as the variable
            if names:
                self.add("; ".join(f"_{n} = E({n!r}, {scope.qualified!r})" for n in names))
            with self.block("try:"):
                for p in parameters:
                    self.stored(scope, p, line, kinds[p])
                for p in variadic + keywords:
                    self.stored(scope, p, line, "dict" if p in keywords else None)
                for p in parameters:
                    if kinds[p] and self.chance(50):
                        self.mutate(scope, depth, p)
                (body or self.body)(scope, depth)
            with self.block("finally:"):
                self.add("; ".join(f"_{n}.end()" for n in names if n not in captured) or "pass")
        left_out = 0 if variadic else self.random.randint(0, len(defaults))
        given = [self.argument(kinds[p]) for p in parameters[:len(parameters) - left_out]]
        given += [self.value(), self.value()] * bool(variadic)
        return given + [f"kw={self.value()}"] * bool(keywords)

    def body(self, scope, depth):
        self.statements(scope, depth, self.random.randint(2, 6))
        if self.chance(15):
            self.add("raise Boom('out of the function')")

    def plain(self):
        name = self.fresh("f")
        given = self.function(name, self.module)
        for _ in range(self.random.randint(1, 3)):
            self.add(f"attempt({', '.join([name] + given)})")

    def recursion(self):
        name = self.fresh("f")

        def body(scope, depth):
            self.container(scope, "a", "list")
            self.stored(scope, "b", self.add("b = n"))
            self.statements(scope, 1, 2)
            self.container(scope, "a", "list")
            with self.block("if n:"):
                self.add(f"{name}(n - 1)")
                self.mutate(scope, depth, "a")
                if self.chance(30):
                    self.add("raise Boom(n)")
            self.forget(scope)
            self.statements(scope, 1, 1)

        self.function(name, self.module, body=body, extra="n", optional=100)
        self.add(f"attempt({name}, 3)")

    def closure(self):
        name, inner = self.fresh("f"), self.fresh("g")
        shared = self.random.sample(NAMES, 2)

        def body(scope, depth):
            self.statements(scope, 1, 2)
            for n in shared:
                self.stored(scope, n, self.add(f"{n} = {self.value()}"))
            given = self.function(inner, scope, outside=[(n, "nonlocal") for n in shared], depth=1)
            call = ", ".join([inner] + given)
            self.forget(scope)
            self.add(f"attempt({call})")
            self.statements(scope, 1, 2)
            self.forget(scope)
            self.add(f"attempt({call})")
            self.container(scope, shared[0], "list")
            self.add(f"return {inner}, {shared[0]}, None")
            self.given = given

        given = self.function(name, self.module, captured=shared, body=body)
        self.add(f"_r = attempt({', '.join([name] + given)})")
        with self.block("if _r:"):
            self.add("helper.put(_r[1], 'the closure lives')")
            self.add(f"attempt({', '.join(['_r[0]'] + self.given)})")
            self.add("helper.put(_r[1], 'still')")
            self.add("_r = _r[1]")
            self.add("helper.put(_r, 'nobody holds it')")

    def generator(self):
        name = self.fresh("f")

        def body(scope, depth):
            self.container(scope, "a", "list")
            self.add("yield a")
            for _ in range(self.random.randint(1, 3)):
                self.statements(scope, depth, 2)
                form = self.random.randrange(3)
                if form == 0:
                    self.stored(scope, "b", self.add("b = yield 1"))
                elif form == 1:
                    self.add("yield 2")
                else:
                    self.forget(scope)
                    with self.block("for c in (1, 2):") as line:
                        self.stored(scope, "c", line)
                        self.add("yield c")
            self.forget(scope)
            self.mutate(scope, depth, "a")

        given = self.function(name, self.module, body=body)
        call = f"{name}({', '.join(given)})"
        self.add(f"_g = [{call}, {call}]")
        self.add("_held = [next(_each) for _each in _g]; _each = None")
        self.add("for _h in _held: helper.put(_h, 'suspended')")
        plan = "".join(self.pick("nnnnnnsstcd") for _ in range(14))
        self.add(f"drive(_g, {plan!r})", "for _h in _held: helper.put(_h, 'some are gone')")
        self.add("_g = None", "for _h in _held: helper.put(_h, 'all are gone')")

    def coroutine(self):
        name = self.fresh("f")

        def body(scope, depth):
            for _ in range(self.random.randint(1, 3)):
                self.statements(scope, depth, 2)
                self.add("await asyncio.sleep(0)")
                self.forget(scope)
                if self.chance(40):
                    with self.block(f"async for d in several(({self.value()}, {self.value()})):") as line:
                        self.stored(scope, "d", line)
                        self.statements(scope, 0, 1)
                    self.forget(scope)

        given = self.function(name, self.module, "async", body=body)
        call = f"{name}({', '.join(given)})"
        main = self.fresh("main")
        with self.block(f"async def {main}():"):
            self.add(f"print(len(await asyncio.gather({call}, {call}, return_exceptions=True)))")
        self.add(f"asyncio.run({main}())")

    def class_body(self):
        name = self.fresh("C")
        outside = self.random.sample(NAMES, self.random.randrange(3))
        scope = Scope(name, NAMES, "class", parent=self.module)
        scope.declared = set(outside)
        own = [n for n in NAMES if n not in outside]
        with self.block("try:"):
            with self.block(f"class {name}:"):
                if outside:
                    self.add(f"global {', '.join(outside)}")
                self.add("; ".join(f"_{n} = E({n!r}, {name!r})" for n in own))
                with self.block("try:"):
                    self.statements(scope, 1, 4)
                    given = self.function("method", scope, extra="self", depth=1)
                with self.block("finally:"):
                    self.add("; ".join(f"_{n}.end()" for n in own))
        with self.block("except Boom:"):
            self.add(f"{name} = None")
        self.forget(self.module)
        with self.block(f"if {name}:"):
            self.add(f"attempt({', '.join([name + '().method'] + given)})")

    def anonymous(self):
        name = self.fresh("l")
        line = len(self.lines) + 3
        store = f"_l.store({{0}}, {line}, '<lambda>')"
        self.add("_l = E('a', '<lambda>'); _m = E('b', '<lambda>')")
        default = self.value()
        self.add("_o = None")
        self.add(f"{name} = lambda a, b={default}: (_l.store(a, {line}, '<lambda>'), _m.store(b, {line}, '<lambda>'), (a := {self.value()}), "
                 f"{store.format('a')}, [(b := x) for x in (5,)], _m.store(b, {line}, '<lambda>'), (a := (a, 1)), {store.format('a')})[0]")
        for _ in range(2):
            self.add("_l = E('a', '<lambda>'); _m = E('b', '<lambda>')", f"{name}({self.value()})", "_l.end(); _m.end()")

    def globals_user(self):
        outside = [(n, "global") for n in self.random.sample(NAMES, self.random.randint(1, 4))]
        name = self.fresh("f")
        given = self.function(name, self.module, outside=outside)
        self.forget(self.module)
        self.add(f"attempt({', '.join([name] + given)})", f"attempt({', '.join([name] + given)})")
        n = self.pick(NAMES)
        self.add(f"helper.poke(sys.modules['__main__'], {n!r}, {self.value()}, _{n})")
        if self.chance(40):
            self.add(f"helper.unpoke(sys.modules['__main__'], {n!r}, _{n})")

    def threads(self):
        name = self.fresh("f")
        # a default would be one container for both threads
        given = [g for g in self.function(name, self.module, optional=0) if not g.startswith("kw=")]
        self.add(f"in_threads({name}, ({''.join(g + ', ' for g in given)}), ({''.join(g + ', ' for g in given)}))")

    def outlive(self):
        """Containers handed to functions and threads that end."""
        name = self.fresh("f")

        def body(scope, depth):
            self.stored(scope, "e", self.add("e = shared"))
            if self.chance(50):
                self.add("helper.put(e, 'inside')")
            if self.chance(30):
                self.add("raise Boom('leaves')")

        self.function(name, self.module, body=body, extra="shared", optional=100)
        n = self.pick(NAMES)
        self.stored(self.module, n, self.add(f"{n} = {self.pick(LISTS)}"), "list")
        self.add(f"attempt({name}, {n})", f"helper.put({n}, 'the function has ended')", f"in_threads({name}, ({n},))",
                 f"helper.put({n}, 'the thread has ended')")

    def other_module(self):
        module = self.fresh("ora_mod_" + self.file[4:-3] + "_")
        writer = Writer(self.random.random(), module + ".py")
        writer.serial = 1000
        header = [text for text in writer.lines if not text.startswith(tuple(f"_{n} = E(" for n in NAMES))]
        writer.lines = header
        writer.add("module_start(globals(), FILE)")
        scope = Scope(MODULE, NAMES, "module")
        writer.statements(scope, 1, 4)
        writer.add("__all__ = [n for n in 'abcde' if n in globals()]")
        self.modules[module + ".py"] = "\n".join(writer.lines) + "\n"
        with self.block("try:"):
            self.add(f"import {module}")
            if self.chance(70):
                n = self.pick(NAMES)
                self.add(f"helper.poke({module}, {n!r}, {self.value()}, {module}._{n})")
            if self.chance(50):
                line = self.add(f"from {module} import *")
                self.add(f"star_imported({module}, globals(), {line})")
            if self.chance(50):
                self.add(f"importlib.reload({module})")
        with self.block("except Boom:"):
            self.add("pass")
        self.forget(self.module)

    def newer(self, version, write):
        """A module in the syntax of that version and later."""
        module = self.fresh("ora_new_" + self.file[4:-3] + "_")
        writer = Program(self.random.random(), module + ".py", {})
        writer.serial = 2000
        writer.lines = [text for text in writer.lines if not text.startswith(tuple(f"_{n} = E(" for n in NAMES))]
        writer.add("module_start(globals(), FILE)")
        write(writer)
        self.modules[module + ".py"] = "\n".join(writer.lines) + "\n"
        with self.block(f"if sys.version_info >= {version}:"):
            self.add(f"import {module}")

    def matcher(self):
        def write(writer):
            one, two = writer.random.sample(NAMES, 2)
            scope = Scope("f", NAMES, parent=writer.module)
            with writer.block("def f(_subject):"):
                writer.add("; ".join(f"_{n} = E({n!r}, 'f')" for n in NAMES))
                with writer.block("try:"):
                    with writer.block("match _subject:"):
                        with writer.block(f"case [{one}, 2] if {one} == 'never':") as line:
                            writer.add("pass")
                        with writer.block(f"case {{'k': {two}}} | [1, 2, {two}]:") as second:
                            writer.forget(scope)
                            writer.stored(scope, two, second)
                            writer.statements(scope, 1, 2)
                        with writer.block(f"case [{one}, 2]:") as third:
                            writer.forget(scope)
                            writer.add(f"_{one}.store({one}, {line}, 'f')")
                            writer.stored(scope, one, third)
                            writer.statements(scope, 1, 2)
                        with writer.block(f"case [_, *{one}] | {one}:") as fourth:
                            writer.stored(scope, one, fourth)
                with writer.block("finally:"):
                    writer.add("; ".join(f"_{n}.end()" for n in NAMES))
            for subject in ("[3, 2]", "{'k': 3}", "[1, 2, [3]]", "[4, 5]", "7"):
                writer.add(f"attempt(f, {subject})")

        self.newer((3, 10), write)

    def group(self):
        def write(writer):
            name = writer.pick(NAMES)
            scope = Scope("f", NAMES, parent=writer.module)
            with writer.block("def f():"):
                writer.add("; ".join(f"_{n} = E({n!r}, 'f')" for n in NAMES))
                with writer.block("try:"):
                    with writer.block("try:"):
                        writer.add("raise ExceptionGroup('g', [Boom(1), ValueError(2)])")
                    with writer.block(f"except* Boom as {name}:") as line:
                        writer.stored(scope, name, line)
                        writer.add(f"_{name}.silently_unbind()")
                    with writer.block(f"except* ValueError as {name}:") as line:
                        writer.stored(scope, name, line)
                        writer.add(f"_{name}.silently_unbind()")
                    writer.forget(scope)
                    writer.statements(scope, 1, 2)
                with writer.block("finally:"):
                    writer.add("; ".join(f"_{n}.end()" for n in NAMES))
            writer.add("attempt(f)")

        self.newer((3, 11), write)

    def generic(self):
        def write(writer):
            name, made = writer.pick(NAMES), writer.fresh("g")
            form = writer.pick(["def {0}[{1}](x): return x", "class {0}[{1}]: pass", "type {0}[{1}] = list", "async def {0}[_T, *{1}](): pass"])
            with writer.block("def f():"):
                line = writer.add(form.format(made, name))
                writer.add(f"E({name!r}, 'f').store({made}.__type_params__[-1], {line}, 'f.<locals>.<generic parameters of {made}>')")
            writer.add("attempt(f)", "attempt(f)")

        self.newer((3, 12), write)

    def watch_call(self):
        name, variable = self.fresh("f"), self.fresh("w")
        with self.block(f"def {name}(on):"):
            self.add("from watcher import watch", f"_w = E({variable!r}, {name!r})", "_w.watched = False")
            self.add(f"_w.store(0, {self.add(f'{variable} = 5')})")
            with self.block("if on:"):
                line = self.add(f"{variable} = watch({variable})")
                self.add("_w.watched = True", f"_w.store({variable}, {line})")
            with self.block(f"for {variable} in (1, 'x', 2.5, None):") as line:
                self.add(f"_w.store({variable}, {line})")
        self.add(f"{name}(True); {name}(False); {name}(True)")
