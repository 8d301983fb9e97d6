"""Statements that change a list, dict or set in place, each with the events it must give."""

LISTS = ["[]", "[1]", "[1, 2, 3]", "['a', None, 2.5]", "[0] * 70", "[[1], {'k': [2]}]", "['long' * 400, 1]", "[[[[[1]]]]]", "list(range(20))"]
DICTS = ["{}", "{'k': 1}", "{'k': 1, 2: 'two', None: 3}", "{'n': {'n': {'n': {'n': {}}}}}", "{(1, 'x'): [1]}", "dict.fromkeys(range(70))"]
SETS = ["set()", "{1}", "{1, 2, 3}", "{'e'}", "set(range(70))"]
KEYS = ["'k'", "2", "None", "'h\\u00e9'", "(1, 'x')", "1.5", "b'b'", "-7", "2**70", "''"]


class ContainerStatements:
    """Of a Writer: see oracle_programs.py."""

    def container(self, scope, name, kind):
        if scope.types.get(name) != kind or self.chance(20):
            self.stored(scope, name, self.add(f"{name} = {self.pick({'list': LISTS, 'dict': DICTS, 'set': SETS}[kind])}"), kind)

    def mutate(self, scope, depth, name=None):
        name = name or self.pick(scope.names)
        kind = scope.types.get(name)
        if kind not in ("list", "dict", "set"):
            kind = self.pick(["list", "list", "dict", "set"])
            self.container(scope, name, kind)
        if self.chance(80):
            self.mutate_inside(scope, name)
        for _ in range(self.random.randint(1, 3)):
            {"list": self.change_list, "dict": self.change_dict, "set": self.change_set}[kind](scope, name)

    def mutate_inside(self, scope, name):
        kind = self.pick(["list", "dict", "set", "thing", "deque", "ordered"])
        new, of, change = {"list": ("[[1], 2]", "list", self.change_list), "dict": ("{'in': [1]}", "dict", self.change_dict),
                           "set": ("{1, 2}", "set", self.change_set), "thing": ("Thing([1])", "Thing", self.change_thing),
                           "deque": ("collections.deque([1, [2]])", "collections.deque", self.change_deque),
                           "ordered": ("collections.OrderedDict(k=[1])", "collections.OrderedDict", self.change_ordered)}[kind]
        if scope.types.get(name) == "list" and self.chance(85):
            self.event(scope, name, f"[('append', [len({name}) - 1], None, describe({name}[-1]))]", self.add(f"{name}.append({new})"))
        elif scope.types.get(name) == "dict" and self.chance(85):
            self.add(f"_s = dict({name})")
            self.event(scope, name, f"[('setitem', ['in'], describe(_s['in']) if 'in' in _s else None, describe({name}['in']))]",
                       self.add(f"{name}['in'] = {new}"))
        self.add(f"_n = inner({name}, {of})")
        with self.block("if _n is not None:"):
            change(scope, "_n")
        self.add("_n = _s = None")

    def change_thing(self, scope, x):
        name, value = self.pick(["n", "m"]), self.value()
        self.add(f"_s = dict(vars({x}))")
        old = f"describe(_s[{name!r}]) if {name!r} in _s else None"
        form = self.random.randrange(4)
        if form == 0:
            with self.block(f"if {name!r} in _s:"):
                self.event(scope, x, f"[('delattr', [{name!r}], {old}, None)]", self.add(f"del {x}.{name}"))
        else:
            text = self.pick([f"{x}.{name} = {value}", f"setattr({x}, {name!r}, {value})", f"object.__setattr__({x}, {name!r}, {value})"])
            self.event(scope, x, f"[('setattr', [{name!r}], {old}, describe({x}.{name}))]", self.add(text))

    def change_deque(self, scope, x):
        value = self.value()
        self.add(f"_s = list({x})", f"_was = describe({x})")
        text, change, needed = self.pick([
            (f"{x}.append({value})", f"('append', [len(_s)], None, describe({x}[-1]))", 0),
            (f"{x}.appendleft({value})", f"('appendleft', [0], None, describe({x}[0]))", 0),
            (f"{x}.pop()", "('pop', [len(_s) - 1], describe(_s[-1]), None)", 1),
            (f"{x}.popleft()", "('popleft', [0], describe(_s[0]), None)", 1),
            (f"{x}[-1] = {value}", f"('setitem', [len(_s) - 1], describe(_s[-1]), describe({x}[-1]))", 1),
            (f"{x}.rotate(1)", f"('rotate', [], _was, describe({x}))", 0),
            (f"{x}.extend([{value}, 2])", f"('extend', [], _was, describe({x}))", 0),
            (f"{x}.clear()", f"('clear', [], _was, describe({x}))", 0)])
        with self.block(f"if len(_s) >= {needed}:"):
            self.event(scope, x, f"[{change}]", self.add(text))

    def change_ordered(self, scope, x):
        value = self.value()
        self.add(f"_s = dict({x})")
        self.event(scope, x, f"[('setitem', ['k'], describe(_s['k']) if 'k' in _s else None, describe({x}['k']))]", self.add(f"{x}['k'] = {value}"))
        text, op = self.pick([(f"{x}.pop('k')", "pop"), (f"del {x}['k']", "delitem")])
        if self.chance(50):
            self.add("_s = None")
            self.event(scope, x, f"[({op!r}, ['k'], _was, None)]", (self.add(f"_was = describe({x}['k'])"), self.add(text))[1])

    def event(self, scope, name, change, line):
        self.add(f"M({name}, {change}, {line}, {scope.qualified!r})")

    def change_list(self, scope, x):
        value, index = self.value(), self.pick([0, -1, 1])
        form = self.random.randrange(15)
        snapshot = f"_s = list({x})"
        if form <= 1:
            self.event(scope, x, f"[('append', [len({x}) - 1], None, describe({x}[-1]))]", self.add(f"{x}.append({value})"))
        elif form <= 4 or form == 12:
            self.add(snapshot)
            text, change = self.pick([
                (f"{x}[{index}] = {value}", f"('setitem', [{index} % len(_s)], describe(_s[{index}]), describe({x}[{index}]))"),
                (f"{x}.pop({index})", f"('pop', [{index} % len(_s)], describe(_s[{index}]), None)"),
                (f"{x}.pop()", "('pop', [len(_s) - 1], describe(_s[-1]), None)"),
                (f"del {x}[{index}]", f"('delitem', [{index} % len(_s)], describe(_s[{index}]), None)"),
                (f"{x}.remove({x}[{index}])", f"('remove', [_s.index(_s[{index}])], describe(_s[_s.index(_s[{index}])]), None)")])
            with self.block("if len(_s) > 1:"):
                self.event(scope, x, f"[{change}]", self.add(text))
        elif form == 5:
            at = self.pick([0, -1, 1, 99, -99])
            self.add(snapshot)
            self.event(scope, x, f"[('insert', [slice({at}, None).indices(len(_s))[0]], None, describe({x}[slice({at}, None).indices(len(_s))[0]]))]",
                       self.add(f"{x}.insert({at}, {value})"))
        elif form <= 7:
            items = self.pick([f"[{value}, 2]", "[]", "(1, 2)", "(i for i in (5, 6))", "'ab'", "range(2)", x, "{1: 2}"])
            in_place = self.chance(50)
            self.add(snapshot)
            line = self.add(f"{x} += {items}" if in_place else f"{x}.extend({items})")
            self.event(scope, x, f"[('extend', ['%d:%d' % (len(_s), len({x}))], None, describe({x}[len(_s):]))]", line)
            if in_place:
                self.stored(scope, x, line, "list")
        elif form <= 9:
            where = self.pick(["0:2", "1:1", "-1:", ":", "5:2", "1:"])
            stepped = self.chance(30)
            where = self.pick(["::2", "::-1", "1::2", "::-2", "5:0:-3"]) if stepped else where
            parts = [part or "None" for part in (where + "::").split(":")[:3]]
            self.add(snapshot)
            items = f"[7] * len(_s[{where}])" if stepped else self.pick([f"[{value}]", "[]", "(1, 2, 3)", "'cd'", "(i for i in (8, 9))", x])
            deleting = self.chance(35)
            line = self.add(f"del {x}[{where}]" if deleting else f"{x}[{where}] = {items}")
            self.event(scope, x, f"slice_change(_s, list({x}), slice({', '.join(parts)}), {deleting})", line)
        elif form == 10:
            self.add(f"_was = describe({x})")
            text, op = self.pick([(f"{x}.reverse()", "reverse"), (f"{x}.sort(key=lambda item: item.__class__.__name__)", "sort"), (f"{x}.clear()", "clear"),
                                  (f"{x}.sort(key=lambda item: 1, reverse=True)", "sort")])
            self.event(scope, x, f"[({op!r}, [], _was, describe({x}))]", self.add(text))
        elif form == 11:
            self.add(f"_was = describe({x})")
            line = self.add(f"{x} *= {self.pick([0, 1, 2])}")
            self.event(scope, x, f"[('imul', [], _was, describe({x}))]", line)
            self.stored(scope, x, line, "list")
        elif form == 13:
            with self.block("try:"):
                self.add(self.pick([f"{x}[10**6] = 1", f"{x}.remove(object())", f"{x}.pop(10**6)", f"del {x}[10**6]", f"{x}[::0] = []", f"{x} + 1"]))
            with self.block("except (IndexError, ValueError, TypeError):"):
                self.add("pass")
        else:
            self.add(snapshot)
            with self.block("try:"):
                line = self.add(f"{x}.extend(1 // (1 - i) for i in range(3))")
            with self.block("except ZeroDivisionError:"):
                self.event(scope, x, f"[('extend', ['%d:%d' % (len(_s), len({x}))], None, describe({x}[len(_s):]))]", line)

    def change_dict(self, scope, x):
        key, value = self.pick(KEYS), self.value()
        form = self.random.randrange(10)
        old = f"describe(_s[{key}]) if {key} in _s else None"
        self.add(f"_s = dict({x})")
        if form <= 2:
            self.event(scope, x, f"[('setitem', [key_path({key})], {old}, describe({x}[{key}]))]", self.add(f"{x}[{key}] = {value}"))
        elif form <= 4:
            text, op = self.pick([(f"del {x}[{key}]", "delitem"), (f"{x}.pop({key})", "pop"), (f"{x}.pop({key}, 5)", "pop")])
            with self.block(f"if {key} in {x}:"):
                self.event(scope, x, f"[({op!r}, [key_path({key})], describe(_s[{key}]), None)]", self.add(text))
        elif form == 5:
            with self.block(f"if {x}:"):
                self.event(scope, x, "[('popitem', [key_path(list(_s)[-1])], describe(list(_s.values())[-1]), None)]", self.add(f"{x}.popitem()"))
        elif form == 6:
            line = self.add(f"{x}.setdefault({key}, {value})")
            with self.block(f"if {key} not in _s:"):
                self.event(scope, x, f"[('setdefault', [key_path({key})], None, describe({x}[{key}]))]", line)
        elif form == 7:
            text, names = self.pick([(f"{{{key}: {value}, 'n': 2}}", f"{{{key}: 1, 'n': 2}}"), (f"z={value}, k=4", "('z', 'k')"), ("{}", "()"),
                                     ("{'k': 8}, z=9, k=10", "('k', 'z')"), (f"[({key}, object()), ('q', object())]", f"{{{key}: 1, 'q': 2}}")])
            changes = f"update_changes(_s, [k for k in {names}], {x})"
            self.event(scope, x, changes, self.add(f"{x}.update({text})"))
        elif form == 8:
            self.add(f"_was = describe({x})")
            self.event(scope, x, f"[('clear', [], _was, describe({x}))]", self.add(f"{x}.clear()"))
        else:
            with self.block("if sys.version_info >= (3, 9):"):
                line = self.add(f"{x} |= {{{key}: {value}}}")
                self.event(scope, x, f"update_changes(_s, [{key}], {x})", line)
                self.stored(scope, x, line, "dict")

    def change_set(self, scope, x):
        form = self.random.randrange(8)
        # what combines sets is there once: an element replaced by an equal one is another matter
        element = self.pick([k for k in KEYS if k != "None"] + ["1", "3"]) if form < 5 else self.pick(["'k'", "2", "4", "''", "1", "3"])
        self.add(f"_s = set({x})", f"_was = describe({x})")
        if form <= 1:
            self.event(scope, x, f"[('add', [element_path({element})], describe({element}) if {element} in _s else None, describe({element}))]",
                       self.add(f"{x}.add({element})"))
        elif form == 2:
            text, op = self.pick([(f"{x}.remove({element})", "remove"), (f"{x}.discard({element})", "discard")])
            with self.block(f"if {element} in {x}:"):
                self.event(scope, x, f"[({op!r}, [element_path({element})], describe({element}), None)]", self.add(text))
        elif form == 3:
            with self.block(f"if {x}:"):
                line = self.add(f"{x}.pop()")
                self.add(f"(_p,) = _s - {x}")
                self.event(scope, x, "[('pop', [element_path(_p)], describe(_p), None)]", line)
        elif form == 4:
            self.event(scope, x, f"[('clear', [], _was, describe({x}))]", self.add(f"{x}.clear()"))
        else:
            op, sign = self.pick([("update", "|="), ("difference_update", "-="), ("intersection_update", "&="), ("symmetric_difference_update", "^=")])
            others = self.pick([f"{{{element}, 1}}", "set()", f"{{2, {element}, 'u'}}"])
            in_place = self.chance(50)
            line = self.add(f"{x} {sign} {others}" if in_place else f"{x}.{op}({others})")
            self.event(scope, x, f"set_changes({op!r}, _s, {x}, _was)", line)
            if in_place:
                self.stored(scope, x, line, "set")
