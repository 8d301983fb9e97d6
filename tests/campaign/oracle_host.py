"""What a generated program carries along: what each of its statements must make Watcher record, worked out in plain Python.

Each variable has an `Expected` beside it, which lives as long as the variable does. Nothing here knows Watcher: run with or
without it, the same expectations come out (ORACLE_EXPECTED names the file for them).
"""

import atexit
import collections
import ctypes
import gc
import itertools
import json
import os
import sys
import threading
import weakref

KEEP = os.environ.get("ORACLE_KEEP") == "1"  # hold on to what variables hold, or let it die at the rebinding
VALUE_BYTES, REPR_BYTES, REPR_ITEMS, REPR_DEPTH = 65536, 1024, 64, 4
NEW_COMPREHENSIONS = sys.version_info >= (3, 12)
TELLS_DICTIONARIES = sys.version_info >= (3, 12)  # dictionary watchers: what changed globals by their dictionary is exact

# What dies with a cycle would die sooner or later with Watcher than without it: only `attempt` collects.
gc.disable()
gc.freeze()

expectations = []
groups = itertools.count()
living = {}  # id of a container → {id of the Expected: weak reference}
CONTAINERS = (list, dict, set, collections.deque, collections.OrderedDict, collections.defaultdict)
DEPTH = 4


def keeps():
    """A thread lets nothing die at a rebinding either: before the store is told, another one may make a container at the same address."""
    return KEEP or threading.current_thread() is not threading.main_thread()


def is_container(value):
    return value.__class__ in CONTAINERS or isinstance(value, Thing)  # __class__: the type itself, watched or not


def parts(container):
    """What lies inside, each with its step of a path."""
    if isinstance(container, Thing):
        return list(vars(container).items())
    if isinstance(container, dict):
        return [(key_path(key), value) for key, value in dict.items(container)]
    return list(enumerate(container)) if container.__class__ in (list, collections.deque) else []


def paths_to(root, wanted, before=()):
    """Every way from one container to another that is short enough to be recorded, without going in circles."""
    if root is wanted:
        return [[]]
    if len(before) >= DEPTH - 1 or any(root is above for above in before):
        return []
    return [[step] + rest for step, part in parts(root) if is_container(part) for rest in paths_to(part, wanted, (*before, root))]


def inner(container, kind):
    """Some container of that kind inside another one."""
    level = [container]
    for _ in range(DEPTH - 1):
        level = [part for above in level for _, part in parts(above) if is_container(part)]
        for part in level:
            if part.__class__ is kind and part is not container:
                return part
    return None


def clean(text):
    return "".join("\ufffd" if "\ud800" <= c < "\ue000" else c for c in text)


def cut(data, room):
    return data[:room].decode("utf-8", "ignore")


def bounded(value, depth=0):
    """An object as Watcher describes it: Python's repr without running a line of the host's, limited in depth and length."""
    kind = value.__class__
    if kind in (list, tuple, set, frozenset, dict):
        opening, closing = {list: "[]", tuple: "()"}.get(kind, "{}")
        if depth >= REPR_DEPTH and len(value) and kind is not dict:
            inside = ["..."]
        elif depth >= REPR_DEPTH and kind is dict:
            return "{...}"
        elif kind is dict:
            inside = [bounded(k, depth + 1) + ": " + bounded(v, depth + 1) for k, v in itertools.islice(value.items(), REPR_ITEMS)]
        else:
            inside = [bounded(item, depth + 1) for item in itertools.islice(value, REPR_ITEMS)]
        if depth < REPR_DEPTH and len(value) > REPR_ITEMS:
            inside.append("...")
        if kind is tuple and len(value) == 1:
            closing = ",)"
        if kind in (set, frozenset) and not value:
            return kind.__name__ + "()"
        text = opening + ", ".join(inside) + closing
        return text if kind is not frozenset else "frozenset(" + text + ")"
    if kind is collections.deque:
        return "deque" + bounded(list(value), depth).join("()")
    if kind in (collections.OrderedDict, collections.defaultdict):
        return kind.__name__ + bounded(dict(value), depth).join("()")
    if isinstance(value, BaseException):
        return kind.__name__ + "(" + ", ".join(bounded(item, depth + 1) for item in value.args) + ")"
    if kind.__name__ == "module":
        return "<module %r>" % value.__name__
    if kind.__repr__ is object.__repr__ or kind.__module__ in ("builtins", "typing") or isinstance(value, type):
        return repr(value)
    return "<%s object at %#x>" % (kind.__name__, id(value))


def describe(value):
    kind = value.__class__
    name = kind.__name__
    if kind is int:
        return {"type": name, "value": value} if -2**63 <= value < 2**63 else {"type": name, "repr": str(value)}
    if kind is float:
        return {"type": name, "value": value} if abs(value) < float("inf") else {"type": name, "repr": repr(value)}
    if value is None or kind is bool:
        return {"type": name, "value": value}
    if kind is str:
        data = clean(value).encode()
        if len(data) <= VALUE_BYTES:
            return {"type": name, "value": data.decode()}
        return {"type": name, "value": cut(data, VALUE_BYTES), "truncated": len(data)}
    if kind is bytes:
        shown = "".join(("\\" if chr(b) in "\\'" else "") + chr(b) if 0x20 <= b < 0x7f else "\\x%02x" % b for b in value[:1024])
        out = {"type": name, "repr": "b'" + shown + "'"}
        return dict(out, truncated=len(value)) if len(value) > 1024 else out
    data = clean(bounded(value)).encode()
    return {"type": name, "repr": data.decode() if len(data) <= REPR_BYTES else cut(data, REPR_BYTES - 3) + "..."}


def key_path(key):
    return key if key.__class__ is int and -2**63 <= key < 2**63 else element_path(key)


def element_path(key):
    return clean(key if key.__class__ is str else bounded(key))


def expect(group, variable, op, path, before, after, line, function, file, prefixes=((),), exact=True):
    expectations.append({"prefixes": sorted(map(list, prefixes), key=str), "group": group, "thread": threading.get_native_id(), "name": variable.name, "owner": variable.owner,
                         "scope": variable.scope, "op": op, "path": path, "before": before, "after": after, "line": line,
                         "function": function, "file": file, "exact": exact})


class Expected:
    """One variable: a local of one frame, a closure variable, a global of one module."""

    def __init__(self, name, owner, scope, file, watched=True):
        self.name, self.owner, self.scope, self.file = name, owner, scope, file
        self.watched, self.ever, self.before, self.held, self.kept = watched, False, None, None, None

    def state(self):
        return describe(self.kept) if self.kept is not None else self.before

    def let_go(self):
        if self.held is not None:
            holders = living[self.held]
            del holders[id(self)]
            if not holders:
                del living[self.held]
        self.held = self.kept = None

    def store(self, value, line, function=None, file=None, exact=True):
        if not self.watched:
            return
        after = describe(value)
        expect(next(groups), self, "store" if self.ever else "init", None, self.state(), after, line, function or self.owner, file or self.file,
               exact=exact)
        self.hold(value)
        self.ever = True

    def hold(self, value):
        self.let_go()
        self.before = describe(value)
        if is_container(value):
            self.thread = threading.get_ident()
            self.held, self.kept = id(value), value if keeps() else None
            living.setdefault(self.held, {})[id(self)] = weakref.ref(self)

    def delete(self, line, function=None, file=None):
        if self.watched:
            expect(next(groups), self, "delete", None, self.state(), None, line, function or self.owner, file or self.file)
        self.silently_unbind()

    def silently_unbind(self):
        self.let_go()
        self.before = None

    def begin_again(self, value):
        """A module's body starts anew with what it held."""
        self.hold(value)
        self.ever = True

    end = let_go

    def __del__(self):
        self.let_go()


def mutated(container, changes, line, function, file):
    """`changes`: (op, path, before, after) of each event; one of them for every variable that holds the container."""
    group = next(groups)
    reached = {}
    for identity, held in list(living.items()):
        for holder in [reference() for reference in list(held.values())]:
            if holder is None or (identity != id(container) and holder.thread != threading.get_ident()):
                continue
            root = holder.kept if holder.kept is not None else ctypes.cast(identity, ctypes.py_object).value
            if holder.kept is None:
                holder.before = describe(root)
            ways = paths_to(root, container)
            if ways:
                reached.setdefault((holder.name, holder.owner, holder.scope), (holder, []))[1].extend(ways)
    for holder, ways in reached.values():
        for op, path, before, after in changes:
            expect(group, holder, op, path, before, after, line, function, file, [[]] if [] in ways else ways)


def slice_change(before, after, where, deleting):
    """What a slice store is to show: the part of the list it can change, the gaps of its steps included."""
    start, stop, step = where.indices(len(before))
    touched = range(start, stop, step)
    first, end = (min(touched[0], touched[-1]), max(touched[0], touched[-1]) + 1) if len(touched) else (start, start)
    now = after[first:end + len(after) - len(before)]
    gone = deleting and step in (1, -1)
    return [("delitem" if deleting else "setitem", ["%d:%d" % (first, end)], describe(before[first:end]), None if gone else describe(now))]


def update_changes(before, names, after):
    """dict.update(): one event a key that was named; none named: the dict as a whole."""
    whole = describe(after)
    return [("update", [key_path(k)], describe(before[k]) if k in before else None, describe(after[k])) for k in names] or [("update", [], whole, whole)]


def set_changes(op, before, after, was):
    """One event an element that came or went; none: the set as a whole, whose elements may have another order then."""
    gone = [(op, [element_path(e)], describe(e), None) for e in before - after]
    return gone + [(op, [element_path(e)], None, describe(e)) for e in after - before] or [(op, [], was, describe(after))]


class Boom(Exception):
    pass


NOTHING = []
BOX = [None]
NOWHERE = object()


class Thing:
    def __init__(self, n):
        self.n = n


class Shown(Thing):
    def __repr__(self):
        raise AssertionError("the host's __repr__ must not run")


class Manager:
    def __init__(self, value):
        self.value = value

    def __enter__(self):
        return self.value

    def __exit__(self, *exception):
        return False

    async def __aenter__(self):
        return self.value

    async def __aexit__(self, *exception):
        return False


async def several(items):
    for item in items:
        yield item


def comprehended(variable, values, line, function):
    """The variable of a comprehension went through them."""
    for value in values:
        variable.store(value, line, function)
    variable.end()


def module_start(space, file):
    """A module's body begins, perhaps anew: what it holds already is what its variables hold."""
    for name in "abcde":
        if name in space:
            space["_" + name].begin_again(space[name])
        else:
            space["_" + name] = Expected(name, "<module>", "global", file)


def star_imported(module, space, line):
    first = len(expectations)
    for name in module.__all__:
        space["_" + name].store(space[name], line)
    for expectation in expectations[first:]:
        expectation["group"] = expectations[first]["group"]  # in the order of a dictionary


def drive(generators, plan):
    """Interleaves them: n(ext), s(end), t(hrow), c(lose), d(rop)."""
    for step, action in enumerate(plan):
        generator = generators[step % len(generators)]
        try:
            if generator is None:
                continue
            if action == "n":
                next(generator)
            elif action == "s":
                generator.send(step)
            elif action == "t":
                generator.throw(Boom("thrown"))
            elif action == "c":
                generator.close()
            else:
                generators[step % len(generators)] = generator = None
        except (StopIteration, Boom, TypeError) as error:
            print(type(error).__name__)
        generator = None


def attempt(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except Boom as error:
        sys.stdout.write("Boom %s\n" % (error.args[:1],))
    finally:
        if threading.current_thread() is threading.main_thread():
            gc.collect()


def in_threads(function, *argument_lists):
    workers = [threading.Thread(target=attempt, args=(function, *arguments)) for arguments in argument_lists]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def write_out():
    with open(os.environ["ORACLE_EXPECTED"], "w") as file:
        json.dump(expectations, file)


atexit.register(write_out)
