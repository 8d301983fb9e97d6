"""Hooks while the interpreter comes to its end: daemon threads, destructors, atexit functions, suspended generators."""

import harness
from harness import changes

RULES = '[[watch]]\nfile = "app.py"\nboth = ["v", "w", "x"]\n'


class Endings(harness.Case):
    settings = {"WATCHER_FIRST_BINDINGS": "skip"}

    def test_daemon_threads_that_store_until_the_end_do_no_harm(self):
        source = """\
import atexit, sys, threading, time
v, w = [0], 0
class Late:
    def __del__(self):
        x = 1
        x = [2]
        x.append(3)
def work():
    global w
    n = 0
    while True:
        w = x = n = n + 1
        x = [n]
        x.append(n)
        v.append(n) if len(v) < 100 else v.clear()
def generate():
    try:
        x = [1]
        while True: yield x
    finally:
        x.append(2)
        x = 5
for _ in range(3): threading.Thread(target=work, daemon=True).start()
atexit.register(v.append, "end")
sys.modules["late"], sys.modules["suspended"] = Late(), generate()
next(sys.modules["suspended"])
time.sleep(0.05)
print("end")
"""
        self.on_all({"app.py": source}, lambda run: self.assertTrue(run.events), config=RULES)

    def test_a_destructors_stores_are_its_own(self):
        source = """\
class Loud:
    def __init__(self, n): self.n = n
    def __del__(self):
        global w
        w = self.n
        v = self.n
        v = v + 1
w = 0
def f():
    x = Loud(1)
    x = [Loud(2)]
    x.clear()
f()
"""
        self.on_all({"app.py": source}, lambda run: self.assertEqual(
            [(e["variable_name"], *c) for e, c in zip(run.events, changes(run.events)) if e["variable_name"] != "x"],
            [("w", "store", 0, 1), ("v", "store", 1, 2), ("w", "store", 1, 2), ("v", "store", 2, 3)]), config=RULES)

    def test_destructors_that_run_when_the_modules_are_gone_do_no_harm(self):
        self.on_all({"program.py": """
import sys
class Late:
    def __init__(self):
        self.me = self
    def __del__(self):
        a = [1]
        a.append(2)
        self.x = {"k": a}
sys.kept = Late()
"""}, lambda run: self.assertEqual([(e["op"], e["line"]) for e in run.of("a")], [("append", 8)]),
                    config='[[watch]]\nfile = "program.py"\nboth = ["*"]\n')

    def test_a_recursion_that_is_cut_off_leaves_the_program_going(self):
        source = """\
import sys
def deep(x):
    x = [x]
    x.append(1)
    return deep(len(x))
sys.setrecursionlimit(150)
for v in range(3):
    try:
        deep(0)
    except RecursionError:
        print(v)
"""
        self.on_all({"app.py": source}, lambda run: self.assertEqual(changes(run.of("v")), [("store", 0, 1), ("store", 1, 2)]), config=RULES)

    def test_objects_that_come_back_to_life_and_borrowed_slots_do_no_harm(self):
        source = """\
import gc
class Slotted:
    __slots__ = ("slot",)
class Sneaky:
    borrowed = Slotted.slot
class Returning:
    back = []
    def __init__(self): self.me, self.x = self, 0
    def __del__(self):
        v = self
        v.x += 1
        self.back.append(v)
def sneak(w):
    try:
        w.borrowed = 42
    except TypeError as error:
        print(error)
def touch(v):
    for x in v.back: x.x += 1
for _ in range(3):
    sneak(Sneaky())
    Returning()
    gc.collect()
    v = Returning.back[-1]
    touch(v)
    del v, Returning.back[:]
    gc.collect()
w = [Returning() for _ in range(50)]
del w
gc.collect()
print("end")
"""
        self.on_all({"app.py": source}, lambda run: self.assertTrue(run.of("v")), config=RULES)

    def test_a_subinterpreter_does_no_harm(self):
        source = """\
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
v = 1
w = interpreters.create()
interpreters.run_string(w, "import json, fractions, decimal; exec('v = 1; v += 1'); print(v)")
interpreters.destroy(w)
exec("v = 5")
v = 2
"""
        self.on_all({"app.py": source}, lambda run: self.assertEqual(changes(run.of("v"))[-1][2], 2), config=RULES)


if __name__ == "__main__":
    harness.main()
