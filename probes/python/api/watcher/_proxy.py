"""WatchProxy and ShadowMemory: watching a value where the names it is bound to cannot be hooked."""

import _operator as operator
import sys
from _weakref import ref

__all__ = ["WatchProxy", "ShadowMemory"]


class ShadowMemory:
    """ShadowMemory(value, name=None, **as_watch)

    A watched value, whose bytes lie on a page of its own that the capture engine guards. write() replaces the value and
    is one event. So is whatever else stores into `memory`. A list, dict, set, object or buffer is watched where it is;
    then `memory` is None.
    """

    __slots__ = ("_handle", "_value")

    def __init__(self, value, name=None, **settings):
        self._value = value
        self._handle = _shadow_open(value, name, **settings)

    @classmethod
    def _of(cls, value, handle):
        self = cls.__new__(cls)
        self._value, self._handle = value, handle
        return self

    @property
    def value(self):
        """The value that was written last."""
        return self._value

    @property
    def memory(self):
        """The bytes in place, writable."""
        return _shadow_memory(self._handle)

    def read(self):
        """The bytes that events compare: 8 for an int, UTF-8 of a str, …"""
        return _shadow_read(self._handle)

    def write(self, value):
        """Replace the value."""
        old, self._value = self._value, value
        _shadow_store(self._handle, old, value)

    def close(self):
        """End the watch."""
        handle, self._handle = self._handle, 0
        _shadow_close(handle)


def _plain(value):
    return value._watcher_value if type(value) is WatchProxy else value


_put = object.__setattr__


class WatchProxy:
    """WatchProxy(value, name=None, **as_watch)

    Behaves as the value does, and each change through it is an event. Of an immutable value, `p += 1` is a change,
    and so is `p = p + 1`: the result takes the place of the proxy that the name held. `q = p + 1` is none.
    """

    __slots__ = ("_watcher_value", "_watcher_shadow", "_watcher_origin", "_watcher_next", "_watcher_names", "__weakref__")

    def __new__(cls, value, name=None, **settings):
        value = _plain(value)
        return cls._over(value, ShadowMemory(value, name, **settings))

    @classmethod
    def _over(cls, value, shadow, origin=None):
        self = object.__new__(cls)
        _put(self, "_watcher_value", value)
        _put(self, "_watcher_shadow", ShadowMemory._of(value, shadow) if type(shadow) is int else shadow)
        _put(self, "_watcher_origin", origin)
        _put(self, "_watcher_next", None)
        _put(self, "_watcher_names", ())
        return self

    def _watcher_derive(self, value):
        """What an operation gave: it may be about to be bound to the name that holds the watched proxy."""
        origin = self if self._watcher_shadow is not None else self._watcher_origin and self._watcher_origin()
        if origin is None:
            return value
        child = WatchProxy._over(value, None, ref(origin))
        _put(origin, "_watcher_next", ref(child))
        _put(origin, "_watcher_names", _bound_names(origin))
        return child

    def _watcher_hand_over(self, heir):
        shadow = self._watcher_shadow
        _put(self, "_watcher_shadow", None)
        _put(heir, "_watcher_shadow", shadow)
        shadow.write(heir._watcher_value)
        return heir

    def __del__(self):
        if self._watcher_shadow is None or sys is None or sys.is_finalizing():
            return
        heir = self._watcher_next and self._watcher_next()
        if heir is not None and set(self._watcher_names) & set(_bound_names(heir)):
            self._watcher_hand_over(heir)
        else:
            self._watcher_shadow.close()

    @property
    def __class__(self):
        return self._watcher_value.__class__

    def __getattr__(self, name):
        return getattr(self._watcher_value, name)

    def __setattr__(self, name, value):
        setattr(self._watcher_value, name, value)

    def __delattr__(self, name):
        delattr(self._watcher_value, name)

    def __dir__(self):
        return dir(self._watcher_value)

    def __reduce_ex__(self, protocol):
        return self._watcher_value.__reduce_ex__(protocol)

    def __format__(self, spec):
        return format(self._watcher_value, spec)

    def __call__(self, *args, **kwargs):
        return self._watcher_value(*args, **kwargs)

    def __round__(self, *digits):
        return self._watcher_derive(round(self._watcher_value, *digits))

    def __exit__(self, *error):
        return self._watcher_value.__exit__(*error)

    def __pow__(self, other, *modulo):
        return self._watcher_derive(pow(self._watcher_value, _plain(other), *modulo))

    def __divmod__(self, other):
        return divmod(self._watcher_value, _plain(other))

    def __rdivmod__(self, other):
        return divmod(other, self._watcher_value)


def _add_methods():
    def forward(function):
        return lambda self, *args: function(self._watcher_value, *map(_plain, args))

    def unary(function):
        return lambda self: self._watcher_derive(function(self._watcher_value))

    def binary(function):
        return lambda self, other: self._watcher_derive(function(self._watcher_value, _plain(other)))

    def reflected(function):
        return lambda self, other: self._watcher_derive(function(other, self._watcher_value))

    def in_place(function):
        def method(self, other):
            value = function(self._watcher_value, _plain(other))
            if value is self._watcher_value and not isinstance(value, (int, float, str, bytes, tuple)):
                return self
            heir = self._watcher_derive(value)
            return self._watcher_hand_over(heir) if self._watcher_shadow is not None else heir

        return method

    def add(name, method):
        method.__name__ = name
        method.__qualname__ = "WatchProxy." + name
        setattr(WatchProxy, name, method)

    conversions = dict(int=int, float=float, complex=complex, bool=bool, str=str, repr=repr, bytes=bytes, hash=hash, len=len,
                       iter=iter, next=next, reversed=reversed, index=operator.index, contains=operator.contains,
                       getitem=operator.getitem, setitem=operator.setitem, delitem=operator.delitem)
    conversions.update((name, lambda value, name=name: getattr(value, "__" + name + "__")())
                       for name in ("enter", "await", "aiter", "anext"))
    # by the function: up to 3.8 a float has no __floor__
    conversions.update((name, lambda value, name=name: getattr(__import__("math"), name)(value))
                       for name in ("trunc", "floor", "ceil"))
    conversions.update((name, getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge"))
    for name, function in conversions.items():
        add("__" + name + "__", forward(function))
    for name in ("neg", "pos", "abs", "invert"):
        add("__" + name + "__", unary(getattr(operator, name)))
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "lshift", "rshift", "and_", "or_", "xor", "matmul", "pow"):
        function, own = getattr(operator, name), name.rstrip("_")
        if name != "pow":
            add("__" + own + "__", binary(function))
        add("__r" + own + "__", reflected(function))
        add("__i" + own + "__", in_place(getattr(operator, "i" + own)))


_add_methods()
