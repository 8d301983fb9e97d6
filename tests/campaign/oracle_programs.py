"""Random Python programs that say themselves what Watcher must record: each statement with its expectation beside it."""

import random

from oracle_containers import DICTS, LISTS, SETS, ContainerStatements

NAMES = ["a", "b", "c", "d", "e"]
SWAPS_WRONGLY = False  # up to 3.11.2 the compiler leaves `x` in `b` of `b, b = x, y` in a function; set for such an interpreter
HEADER = """\
import asyncio, collections, contextlib, importlib, sys
import oracle_host as H
import oracle_helper as helper
from oracle_host import *
FILE = "{file}"
def E(name, owner, scope="local"): return Expected(name, owner, scope, FILE)
def M(container, changes, line, function): mutated(container, changes, line, function, FILE)
SHARED = [[1, 2, 3], {{"k": 1}}, {{1, 2}}]
"""
HELPER = """\
import oracle_host
from oracle_host import describe, mutated
def put(container, value):
    if container.__class__ is list:
        container.append(value)
        changes = [("append", [len(container) - 1], None, describe(value))]
    elif container.__class__ is dict:
        before = describe(container["put"]) if "put" in container else None
        container["put"] = value
        changes = [("setitem", ["put"], before, describe(value))]
    else:
        return
    mutated(container, changes, 5 if container.__class__ is list else 9, "put", "oracle_helper.py")
def poke(module, name, value, expected):
    setattr(module, name, value)
    expected.store(value, 15, "poke", "oracle_helper.py")
def unpoke(module, name, expected):
    delattr(module, name)
    expected.delete(18, "unpoke", "oracle_helper.py")
"""
SCALARS = ["0", "1", "-1", "7", "2**29", "2**30", "-2**30", "2**31", "2**62", "2**63-1", "-2**63", "2**63", "-2**63-1", "2**64", "2**70",
           "-2**90", "10**300", "0.0", "-0.0", "1.5", "float('nan')", "float('inf')", "float('-inf')", "5e-324", "1e308", "None", "True", "False",
           "''", "'text'", "'h\\u00e9'", "'\\u4e16\\u754c'", "'\\U0001f600'", "'\\ud800'", "'a\\udfffb\\x00'", "'x' * 65536", "'y' * 65537",
           "'\\u00e9' * 40000", "b''", "b'raw'", "b'\\x00\\xff\\'\\\\'", "b'z' * 3000", "(1, 'a')", "()", "(1,)", "((1, (2, (3, (4, (5,))))),)",
           "Thing(1)", "Shown(2)", "Thing", "len", "Boom('x', 1)", "range(3)", "1j", "frozenset([1])", "..."]


class Scope:
    """A function, class body or module while its program is written."""

    def __init__(self, qualified, names, kind="plain", expected=None, parent=None):
        self.qualified, self.names, self.kind, self.parent = qualified, list(names), kind, parent
        self.expected = expected or {name: "_" + name for name in names}
        self.types = {}
        self.declared = set()  # `global`, `nonlocal`


class Writer(ContainerStatements):
    def __init__(self, seed, file):
        self.random = random.Random(seed)
        self.lines = []
        self.indent = 0
        self.serial = 0
        self.file = file
        self.add(*HEADER.format(file=file).rstrip("\n").split("\n"))
        for name in NAMES:
            self.add(f"_{name} = E({name!r}, '<module>', 'global')")

    # ---- lines

    def add(self, *texts):
        for text in texts:
            self.lines.append("    " * self.indent + text)
        return len(self.lines)

    def block(self, head):
        writer = self

        class Block:
            def __enter__(self):
                self.line = writer.add(head)
                writer.indent += 1
                return self.line

            def __exit__(self, *_):
                if len(writer.lines) == self.line:
                    writer.add("pass")
                writer.indent -= 1
        return Block()

    def fresh(self, prefix):
        self.serial += 1
        return f"{prefix}{self.serial}"

    def chance(self, percent):
        return self.random.randrange(100) < percent

    def pick(self, items):
        return self.random.choice(items)

    def value(self, scope=None):
        if scope is not None and self.chance(12):
            known = [name for name in scope.names if name in scope.types]
            if known:
                return self.pick(known)
        return self.pick(self.pick([SCALARS, SCALARS, SCALARS, LISTS, DICTS, SETS]))

    # ---- what a binding is to show

    def stored(self, scope, name, line, kind=None):
        if name not in scope.expected:
            return  # `_n`: not a variable that is watched
        self.add(f"{scope.expected[name]}.store({name}, {line}, {scope.qualified!r})")
        scope.types[name] = kind

    def forget(self, scope):
        """Types are known along a straight line only; a name known at all is bound."""
        scope.types.clear()

    # ---- statements

    def statements(self, scope, depth, count=None):
        for _ in range(count or self.random.randint(1, 4)):
            self.pick([self.assign, self.assign, self.assign, self.augment, self.unpack, self.annotate, self.chain, self.delete, self.walrus,
                       self.mutate, self.mutate, self.mutate, self.mutate, self.alias, self.put, self.define, self.bring,
                       self.comprehend, self.comprehend_over, self.fail_between, self.bind_twice, self.by_dictionary] + ([self.loop, self.repeat, self.managed, self.handle, self.branch] if depth else []))(scope, depth)

    def assign(self, scope, depth):
        name = self.pick(scope.names)
        if self.chance(15):  # the store is on another line than its value
            line = self.add(f"{name} = (", "    " + self.value(), ")") - 2
        else:
            line = self.add(f"{name} = {self.value(scope)}")
        self.stored(scope, name, line)

    def alias(self, scope, depth):
        one, two = self.pick(scope.names), self.pick(scope.names)
        self.container(scope, one, self.pick(["list", "dict", "set"]))
        self.stored(scope, two, self.add(f"{two} = {one}"), scope.types[one])
        self.mutate(scope, depth, two)
        self.forget(scope)

    def annotate(self, scope, depth):
        name = self.pick(scope.names)
        if name not in scope.declared:
            self.stored(scope, name, self.add(f"{name}: object = {self.value()}"))

    def chain(self, scope, depth):
        one, two = self.random.sample(scope.names, 2)
        line = self.add(f"{one} = {two} = {self.value()}")
        self.stored(scope, one, line)
        self.stored(scope, two, line)

    def unpack(self, scope, depth):
        one, two, three = self.random.sample(scope.names, 3)
        form = self.random.randrange(4)
        if form == 0:
            line = self.add(f"{one}, {two} = {self.value()}, {self.value()}")
            order = [(one, line), (two, line)]
        elif form == 1:
            line = self.add(f"{one}, *{two} = {self.value()}, {self.value()}, 3")
            order = [(one, line), (two, line)]
        elif form == 2:
            line = self.add(f"({one}, [{two}, *{three}]) = ({self.value()}, (1, 2, {self.value()}))")
            order = [(one, line), (two, line), (three, line)]
        else:
            line = self.add(f"({one},", f"    {two}) = ({self.value()}, {self.value()})")
            order = [(one, line - 1), (two, line)]
        for name, at in order:
            self.stored(scope, name, at)

    def augment(self, scope, depth):
        name = self.pick(scope.names)
        value, operation = self.pick([("5", "+= 1"), ("2**62", "*= 4"), ("'s'", "+= 'tail'"), ("1.5", "/= 3"), ("True", "&= False"), ("b'x'", "*= 3"),
                                      ("2**80", "-= 2**79"), ("(1,)", "+= (2,)"), ("float('inf')", "-= float('inf')"), ("7", "//= 2")])
        self.stored(scope, name, self.add(f"{name} = {value}"))
        for _ in range(self.random.randint(1, 3)):
            self.stored(scope, name, self.add(f"{name} {operation}"))

    def delete(self, scope, depth):
        name = self.pick(scope.names)
        self.stored(scope, name, self.add(f"{name} = {self.value()}"))
        self.add(f"{scope.expected[name]}.delete({self.add(f'del {name}')}, {scope.qualified!r})")
        scope.types.pop(name, None)
        if self.chance(50):
            self.stored(scope, name, self.add(f"{name} = {self.value()}"))

    def walrus(self, scope, depth):
        name = self.pick(scope.names)
        if scope.kind == "class":
            return self.assign(scope, depth)
        line = self.add(f"(helper, ({name} := {self.value()}))")
        self.stored(scope, name, line)

    def define(self, scope, depth):
        name = self.pick(scope.names)
        line = self.add(f"def {name}(): pass" if self.chance(50) else f"class {name}: pass")
        self.stored(scope, name, line)

    def bring(self, scope, depth):
        name = self.pick(scope.names)
        self.stored(scope, name, self.add(self.pick([f"import json as {name}", f"from json import decoder as {name}", f"import os.path as {name}"])))

    def put(self, scope, depth):
        name = self.pick(scope.names)
        self.container(scope, name, self.pick(["list", "dict"]))
        self.add(f"helper.put({name}, {self.value()})")

    def comprehend(self, scope, depth):
        if scope.kind == "class":
            return
        name = self.pick(scope.names)
        form = self.pick(["[({0} := x) for x in {1}]", "{{x: ({0} := x) for x in {1}}}", "[[({0} := y) for y in (x, x)][0] for x in {1}]"])
        line = self.add(form.format(name, f"range({self.random.randrange(3)})"))
        count = int(self.lines[line - 1].split("range(")[1][0])
        twice = "for y in" in form
        for index in range(count):
            for _ in range(1 + twice):
                self.add(f"{scope.expected[name]}.store({index}, {line}, {scope.qualified!r})")
        scope.types.pop(name, None)

    def comprehend_over(self, scope, depth):
        """Its variable is one of the names, and another variable than the function's."""
        name, values = self.pick(scope.names), self.fresh("_v")
        self.add(f"{values} = [{', '.join(self.value() for _ in range(self.random.randrange(4)))}]")
        form = self.pick(["[1 for {0} in {1}]", "{{id({0}) for {0} in {1}}}", "{{id({0}): {0} for {0} in {1}}}", "list(1 for {0} in {1})",
                          "[{0} for {0} in {1} if 0]", "len([(lambda: {0}) for {0} in {1}])", "[1 for {0} in {1} for _inner in ({0},)]",
                          "sum(1 for {0}, BOX[0] in [(_each, 1) for _each in {1}])"])
        if "lambda" in form and name in scope.declared:
            form = "[1 for {0} in {1}]"  # 3.12 and 3.13.0 leave such a function with the comprehension's cell
        if scope.kind == "async" and self.chance(40):
            form = "[1 async for {0} in several({1})]"
        line = self.add(f"_r = {form.format(name, values)}")
        self.add(f"comprehended(E({name!r}, {scope.qualified + '.<comprehension>'!r}), {values}, {line}, {scope.qualified!r})")
        self.add(f"for _each in {values}: helper.put(_each, 'bound no more')", f"_r = {values} = _each = None")

    def fail_between(self, scope, depth):
        one, two = self.random.sample(scope.names, 2)
        form = self.pick(["{0}, NOTHING[9], {1} = {2}, 2, 3", "{0} = NOTHING[9] = {2}", "[*{0}, NOTHING[9]] = 1, {2}, 3", "import json as {0}, no_such_module_anywhere",
                          "from oracle_helper import put as {0}, no_such_name",
                          "for {0}, NOTHING[9] in [({2}, 2)]: pass", "with Manager(({2}, 1)) as ({0}, NOTHING[9]): pass"])
        with self.block("try:"):
            line = self.add(form.format(one, two, self.value()))
        with self.block("except (IndexError, ImportError):"):
            self.stored(scope, one, line)
        if self.chance(30):
            with self.block("try:"):
                line = self.add(f"del {one}, NOTHING[9]")
            with self.block("except IndexError:"):
                self.add(f"{scope.expected[one]}.delete({line}, {scope.qualified!r})")
            scope.types.pop(one, None)

    def bind_twice(self, scope, depth):
        one, two = self.random.sample(scope.names, 2)
        values = self.fresh("_v")
        form, order = self.pick([("{0}, {0} = {2}[0], {2}[1]", "00"), ("{0}, BOX[0], {0} = {2}[0], 0, {2}[1]", "00"), ("{0}, {1}, {0} = {2}[0], {2}[1], {2}[2]", "100"),
                                 ("({0}, {1}), {0} = ({2}[0], {2}[1]), {2}[2]", "100"), ("for {0}, {0} in [({2}[0], {2}[1])]: pass", "00")])
        if SWAPS_WRONGLY:
            form = form.replace("= {2}[0], {2}[1]", "= *{2}[:1], {2}[1]")
        self.add(f"{values} = [{self.value()}, {self.value()}, {self.value()}]")
        line = self.add(form.format(one, two, values))
        if order == "00":
            told = [(one, 0), (one, 1)]
        else:  # the first is told as it is stored, the others behind the statement
            told = [(one, 0), (two, 1), (one, 2)]
        for name, index in told:
            self.add(f"{scope.expected[name]}.store({values}[{index}], {line}, {scope.qualified!r})")
        self.add(f"{values} = None")
        scope.types.pop(one, None)
        scope.types.pop(two, None)

    def by_dictionary(self, scope, depth):
        name = self.pick(NAMES)
        if scope.kind != "module":
            return
        expected = f"_{name}"
        value = self.fresh("_v")
        self.add(f"{value} = {self.value()}", f"_same = globals().get({name!r}, NOWHERE) is {value}")
        line = self.add(f"globals()[{name!r}] = {value}")
        self.add(f"_same or {expected}.store({value}, {line}, '<module>', exact=TELLS_DICTIONARIES)", f"{value} = None")
        scope.types.pop(name, None)

    def branch(self, scope, depth):
        with self.block(f"if {self.pick(['True', 'False', 'helper', 'None'])}:"):
            self.statements(scope, depth - 1)
        self.forget(scope)
        with self.block("else:"):
            self.statements(scope, depth - 1)
        self.forget(scope)

    def loop(self, scope, depth):
        name = self.pick(scope.names)
        self.forget(scope)
        two = self.pick([other for other in scope.names if other != name])
        pair = self.chance(30)
        items = f"({self.value()}, {self.value()})"
        with self.block(f"for {name}, {two} in ({items}, {items}):" if pair else f"for {name} in {items}:") as line:
            self.stored(scope, name, line)
            if pair:
                self.stored(scope, two, line)
            self.statements(scope, depth - 1)
            if self.chance(20):
                self.add(self.pick(["break", "continue"]))
        self.forget(scope)
        if self.chance(30):
            with self.block("else:"):
                self.statements(scope, depth - 1)
            self.forget(scope)

    def repeat(self, scope, depth):
        counter = self.fresh("_n")
        self.forget(scope)
        self.add(f"{counter} = 0")
        with self.block(f"while {counter} < 2:"):
            self.add(f"{counter} += 1")
            self.statements(scope, depth - 1)
        self.forget(scope)

    def managed(self, scope, depth):
        one, two = self.random.sample(scope.names, 2)
        word = "async with" if scope.kind == "async" and self.chance(50) else "with"
        with self.block(f"{word} Manager({self.value()}) as {one}, Manager({self.value()}) as {two}:") as line:
            self.stored(scope, one, line)
            self.stored(scope, two, line)
            self.statements(scope, depth - 1)
        self.forget(scope)

    def handle(self, scope, depth):
        name = self.pick(scope.names)
        self.forget(scope)
        with self.block("try:"):
            self.statements(scope, depth - 1)
            if self.chance(70):
                self.add(f"raise Boom({self.pick(SCALARS[:20])}, 'in {scope.qualified}')")
        self.forget(scope)
        with self.block(f"except Boom as {name}:") as line:
            self.stored(scope, name, line, "exception")
            with self.block("try:"):
                self.statements(scope, depth - 1)
                if self.chance(15):
                    self.add("raise Boom('again')")
            with self.block("finally:"):
                self.add(f"{scope.expected[name]}.silently_unbind()")
        self.forget(scope)
        if self.chance(40):
            with self.block("finally:"):
                self.statements(scope, depth - 1)
            self.forget(scope)
