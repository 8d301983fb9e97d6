class Point:
    __match_args__ = ("x", "y")
    def __init__(self, x, y): self.x, self.y = x, y
def f(given):
    match given:
        case {"k": a, **b}: pass  #: a=1; b={'m': 2}
        case [1, a] | [a, 2]: c = a  #: a=3; c=3; a=4; c=4
        case [a, *b, "end"]: pass  #: a=1; b=[2]
        case Point(a, y=Point(x=b)) as c: pass  #: a=1; b=3; c
        case str() as a if (b := a) == "no": c = 1  #: a=yes; b=yes
        case (int() | float()) as a: pass  #: a=2.5
        case a: b = a  #: a=yes; b=yes
for given in ({"k": 1, "m": 2}, [1, 3], [4, 2], [1, 2, "end"], Point(1, Point(3, 4)), "yes", 2.5): f(given)
def f():
    match (1, 2):
        case (a, 3): pass
        case (a, b) if a > b: pass  #: a=1; b=2
        case (b, _): c = (a, b)  #: b=1; c=(1, 1)
        case _: a = 9
f()
match 5:
    case a: pass  #: a=5
def f():
    with (open("/dev/null") as a, open("/dev/null") as b): pass  #: a; b
    print(a.closed)
f()
