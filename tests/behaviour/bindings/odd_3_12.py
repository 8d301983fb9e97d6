def f():
    a = 1  #: a=1
    type b = list[a]  #: b
    def c[a](p: a) -> a: return p  #: a; c
    class c[b]:  #: b; c
        a = b  #: a
    c = [(lambda: (a, b))() for a in (1,) for b in (2,)]  #: a=1; b=2; c=[(1, 2)]
    c = [a for a in [b for b in (1, 2)]]  #: b=1; b=2; a=1; a=2; c=[1, 2]
    return a
f()
a = [f"{(b := n)}" for n in (1, 2)]  #: b=1; b=2; a=['1', '2']
# a comprehension's variable beside the namespace of a class or module, and a name of it that an import has bound
class K:
    b = [a for a in (3,)]  #: a=3; b=[3]
    try:
        from stars import a, missing  #: a=1
    except ImportError:
        pass
b = [a for a in (3,)]  #: a=3; b=[3]
try:
    from stars import a, missing  #: a=1
except ImportError:
    pass
