"""What stands in for Watcher where it is not there: `watch(value)` is `value`. Under Watcher, its own package."""

import sys as _sys

__all__ = ["watch", "unwatch", "watching", "pause", "resume", "stats", "WatchProxy", "ShadowMemory"]


def watch(value, name=None, *, track_threads=False, track_locals=False, track_sql=False, mutation_depth="FULL", scope=None,
          when=None, proxy=False, on_change="record"):
    """Return the value."""
    return value


def unwatch(name_or_value, /):
    """Do nothing."""


class watching:
    """A context manager that gives the value."""

    def __init__(self, value, name=None, *, track_threads=False, track_locals=False, track_sql=False,
                 mutation_depth="FULL", scope=None, when=None, proxy=False, on_change="record"):
        self._value = value

    def __enter__(self):
        return self._value

    def __exit__(self, kind, error, traceback):
        return None


def pause():
    """Do nothing."""


def resume():
    """Do nothing."""


def stats():
    """Return the counts of a run in which nothing happened."""
    counts = ("emitted", "dropped", "blocked", "regions", "neighbour_traps", "kernel_redirects", "single_steps")
    return {**dict.fromkeys(counts, 0), "engine": "", "engine_reason": "", "paused": False}


class WatchProxy:
    """WatchProxy(value) is the value."""

    def __new__(cls, value, name=None, **settings):
        return value


class ShadowMemory:
    """Holds a value."""

    memory = None

    def __init__(self, value, name=None, **settings):
        self._value = value

    @property
    def value(self):
        return self._value

    def read(self):
        return b""

    def write(self, value):
        self._value = value

    def close(self):
        pass


# Watcher's finder stands behind all others, so that a program's own package of this name wins. This one does not want to.
for _finder in _sys.meta_path:
    if getattr(_finder, "__name__", None) == "_watcher":
        for _name in __all__:
            del globals()[_name]
        __path__ = []
        _finder.exec_module(_sys.modules[__name__])
        break
