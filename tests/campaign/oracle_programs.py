"""Random Python programs that say themselves what Watcher must record: each statement with its expectation beside it."""

import random

from oracle_containers import DICTS, LISTS, SETS, ContainerStatements

NAMES = ["a", "b", "c", "d", "e"]
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
                       self.comprehend] + ([self.loop, self.repeat, self.managed, self.handle, self.branch] if depth else []))(scope, depth)

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
