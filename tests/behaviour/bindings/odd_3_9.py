@(lambda made: 5)
def a(): pass  #: a=5
@str.__call__
@(lambda made: made.__name__)
class a: pass  #: a=a
