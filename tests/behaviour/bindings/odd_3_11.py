def f():
    try: raise ExceptionGroup("g", [ValueError(1), KeyError(2), OSError(3)])
    except* ValueError as a: b = len(a.exceptions)  #: a; b=1
    except* (KeyError, OSError) as a:  #: a
        b = len(a.exceptions)  #: b=2
        a = 4  #: a=4
    try: a
    except NameError as c: pass  #: c
f()
a = 1  #: a=1
try: raise ExceptionGroup("g", [ValueError(1)])
except* ValueError as a: pass  #: a
class K:
    a = [*(b := [1])]  #: b=[1]; a=[1]
    c = a[*(b := (0,))] if 0 else {**(b := {"k": 1})}  #: b={'k': 1}; c={'k': 1}
