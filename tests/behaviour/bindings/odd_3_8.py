class CM:
    def __init__(self, given, swallows=False): self.given, self.swallows = given, swallows
    def __enter__(self): return self.given
    def __exit__(self, *info): return self.swallows
    async def __aenter__(self): return self.given
    async def __aexit__(self, *info): return self.swallows
class Bag: pass
o, box = Bag(), {}
def raising(*first):
    yield from first
    raise KeyError("raised")
def tried(function, *given):
    try: return function(*given)
    except Exception as error: print(type(error).__name__, error)

# targets of with and for
def f():
    with CM((1, [2])) as (a, o.x), CM(5) as box[a], CM("xyz") as (b, *c): pass  #: a=1; b=x; c=['y', 'z']
    with CM(1) as a, CM(a + 1) as a: pass  #: a=1; a=2
    with CM(3, True) as a:  #: a=3
        b = 1 / 0
        c = 4
    for o.x in (7, 8): a = o.x  #: a=7; a=8
    for a, box[a] in ((1, 2), (3, 4)): pass  #: a=1; a=3
    for a, a in ((1, 2),): pass  #: a=1; a=2
    for a in (a := (1, 2)): pass  #: a=(1, 2); a=1; a=2
    for [a, (b, *c)] in [(1, (2, 3))]: pass  #: a=1; b=2; c=[3]
    for *a, b in ("xy",): break  #: a=['x']; b=y
    else: c = 1
f()
# unpacking and chains
def f():
    (a, (b, a)), *c = (1, (2, 3)), 4  #: a=1; b=2; a=3; c=[4]
    a = b = a = 3  #: a=3; b=3; a=3
    a, b = b, a = 1, 2  #: a=1; b=2; b=1; a=2
    a = box[a] = 4  #: a=4
    box[0], a = a, box[a] = 5, 6  #: a=6; a=5
    a, a.x = Bag(), 1  #: a
    [a, [b]] = 1, "z"  #: a=1; b=z
    () = c = ()  #: c=()
f()
def f():
    a, (b, c) = 1, (2,)  #: a=1
tried(f)
def f():
    (a, b), c = (1, 2, 3), 4
tried(f)
def f():
    a, *b = raising(1)
tried(f)
def f():
    a = b, c.x = 1, 2  #: a=(1, 2); b=1
tried(f)
# walrus
def f():
    b = [(a := n) for n in (1, 2)]  #: a=1; a=2; b=[1, 2]
    any((c := n) > 1 for n in (1, 2, 3))  #: c=1; c=2
    b = {(a := k): (c := v) for k, v in ((1, 2),)}  #: a=1; c=2; b={1: 2}
    f"{(a := 5)!r:>{(b := 6)}}"  #: a=5; b=6
    box[(a := 0):(b := 1)] if 0 else box.get((a := 7), (c := 8))  #: a=7; c=8
    while (a := a - 6) > 0: pass  #: a=1; a=-5
    assert (b := True), (c := "never")  #: b=True
    (a := 1) and (b := 0) or (c := 2)  #: a=1; b=0; c=2
    a = [(b := 3), *(c := (4, 5))]  #: b=3; c=(4, 5); a=[3, 4, 5]
    return (a := 9)  #: a=9
f()
def f():
    def inner():
        nonlocal a
        return [a := n for n in (1, 2)]  #: a=1; a=2
    a = 0  #: a=0
    inner()
    return lambda: a
f()
def f():
    global a
    return [a := n for n in (3, 4)]  #: a=3; a=4
f()
[b := n for n in (5, 6)]  #: b=5; b=6
# augmented
def f():
    o.x, a = 1, 1  #: a=1
    o.x += (a := 2)  #: a=2
    box[(a := 0)] = 1  #: a=0
    box[(a := 0)] += (b := 1)  #: a=0; b=1
    a += (a := 5)  #: a=5; a=5
    a @= 1
tried(f)
def f():
    a = []  #: a=[]
    a += [1]  #: a=[1]
    a *= 2  #: a=[1, 1]
    b = "x"  #: b=x
    b += "y"  #: b=xy
    c = 1  #: c=1
    c <<= 3  #: c=8
    c //= 0
tried(f)
def f():
    a += 1
tried(f)
# del
def f():
    a, b, c = 1, 2, 3  #: a=1; b=2; c=3
    o.x = 1
    del (a, [b, o.x]), c  #: -a; -b; -c
    a = 4  #: a=4
    del a, o.missing, b  #: -a
tried(f)
def f():
    del a
tried(f)
# scopes
class K:
    global a
    a = 1  #: a=1
    b = 2  #: b=2
    c = [n for n in (b,)]  #: c=[2]
    del b  #: -b
    for b in (3,): pass  #: b=3
    def m(self):
        a = __class__  #: a
        return super().__init__()
K().m()
def f():
    def g():
        def h():
            nonlocal a
            a = 2  #: a=2
            del a  #: -a
            a = 3  #: a=3
        h()
    a = 1  #: a=1
    g()
    class K:
        nonlocal a
        a = 4  #: a=4
        b = a  #: b=4
    return lambda: a
f()
def f():
    global a, c
    a = 5  #: a=5
    del a  #: -a
    import os as c  #: c
    def b(): pass  #: b
    class a: pass  #: a
f()
del a  #: -a
a = 0  #: a=0
# comprehensions
def f():
    a = 1  #: a=1
    b = [a for a in (2, 3)]  #: a=2; a=3; b=[2, 3]
    c = a  #: c=1
    b = [a for a in (1, 2) for a in (a + 10, a + 20)]  #: a=1; a=11; a=21; a=2; a=12; a=22; b=[11, 21, 12, 22]
    b = [a for c in (1,) for a in [8, 9]]  #: c=1; a=8; a=9; b=[8, 9]
    b = [[a for a in (b, b)] for b in (1,)]  #: b=1; a=1; a=1; b=[[1, 1]]
    b = list(a for a, *c in ((1, 2),) if c)  #: a=1; c=[2]; b=[1]
    b = {a: c for (a, (c, a)) in ((1, (2, 3)),)}  #: a=1; c=2; a=3; b={3: 2}
    b = [lambda: a for a in (1,)][0]()  #: a=1; b=1
    b = [1 for o.x in (1, 2)]  #: b=[1, 1]
    return a
f()
class K:
    a = 1  #: a=1
    b = [a for a in (2, 3)]  #: a=2; a=3; b=[2, 3]
    c = a  #: c=1
b = [a for a in (2,)]  #: a=2; b=[2]
c = a  #: c=0
# parameters, defaults, decorators
def f(p=(a := 4), *q, r: (b := 5) = (c := 6)) -> (b := 7):  #: a=4; c=6; b=5; b=7
    pass
f = lambda p=(a := 3): p  #: a=3
def f(a, b=2, *c): return a  #: a=1; b=2; c=()
f(1)
(lambda a, *b, c=3: a)(1, 2)  #: a=1; c=3; b=(2,)
def f():
    a = 1  #: a=1
    def a(a=a): return a  #: a; a=1
    return a()
f()
# imports
def f():
    import xml.dom as a, os as a, xml.sax  #: a; a
    from os import sep as b, linesep as c  #: b=/; c=\n
    import nosuch as a
tried(f)
def f():
    from stars import a as c, b as c  #: c=1; c=2
    from stars import a as c, b, a as c, b as c  #: c=1; b=2; c=1; c=2
    from stars import a as c, b as c, missing as c  #: c=1; c=2
tried(f)
from stars import *  #: a=1; b=2
from stars import a as c, b as c  #: c=1; c=2
# exec and eval
exec("a = 1", {}, {})
def f():
    a = 1  #: a=1
    exec("a = 2; b = 3", {}, {})
    eval("[a := 4]", {})
    return a
f()
# handlers
def f():
    try: raise KeyError(1)
    except KeyError as a:  #: a
        try: raise ValueError(2)
        except ValueError as a: pass  #: a
        try: a
        except NameError as b: a = 5  #: b; a=5
    try: raise KeyError(1)
    except KeyError as a:  #: a
        a = 3  #: a=3
        del a  #: -a
    try:
        try: a = raising(1)  #: a
        finally: b = 1  #: b=1
    except Exception: pass
    else: c = 1  #: c=1
    a = 4  #: a=4
f()
# generators and coroutines
def f():
    a = yield 1  #: a=10
    b = yield from (c for c in (2,))  #: c=2; b=None
    c = (yield) or 3  #: c=3
g = f()
next(g); g.send(10); next(g)
list(g)
async def f():
    async with CM(1) as a, CM(a) as (o.x): pass  #: a=1
    async def numbers():
        for b in (1, 2): yield b  #: b=1; b=2; b=1; b=2
    async for a in numbers(): pass  #: a=1; a=2
    c = [a async for a in numbers()]  #: a=1; a=2; c=[1, 2]
    a = await one()  #: a=1
async def one(): return 1
try: f().send(None)
except StopIteration: pass
# annotations and spellings
def f():
    a: int = 3  #: a=3
    (b): int = 4  #: b=4
    o.x: int = 5
    c: int
    ａ = 6  #: a=6
    if a == 6: c = 1 if (b := 2) else (b := 3)  #: b=2; c=1
f()
a: int = 3  #: a=3
c: int
