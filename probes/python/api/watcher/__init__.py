"""Watcher: who changed this variable?

    from watcher import watch

    counter = watch(0, name="counter")    # every later change of `counter` is recorded
    records = watch([], name="records")   # so is every change inside the list

    with watching({}, name="state") as state:    # until the end of the block
        state["step"] = 1

A watched variable keeps its real value and type. Events are written as JSON lines to events.jsonl in the
output directory. pause() and resume() stop and continue the recording, unwatch() ends it for a variable.
"""

__all__ = ["watch", "unwatch", "watching", "pause", "resume", "stats", "WatchProxy", "ShadowMemory"]


class watching:
    """watching(value, name=None, **as_watch) -> context manager

    Watch a value inside a `with` block: `with watching([], name="x") as x:`. Takes what watch() takes.
    """

    def __init__(self, value, name=None, *, track_threads=False, track_locals=False, track_sql=False,
                 mutation_depth="FULL", scope=None, when=None, proxy=False, on_change="record"):
        self._value = value
        self._settings = dict(name=name, track_threads=track_threads, track_locals=track_locals, track_sql=track_sql,
                              mutation_depth=mutation_depth, scope=scope, when=when, proxy=proxy, on_change=on_change)

    def __enter__(self):
        value, self._block = _begin_block(self._value, **self._settings)
        return value

    def __exit__(self, kind, error, traceback):
        _end_block(self._block) if type(self._block) is int else self._block.close()


def __getattr__(name):
    if name not in ("WatchProxy", "ShadowMemory"):
        raise AttributeError(f"module 'watcher' has no attribute {name!r}")
    from watcher import _proxy
    return globals().setdefault(name, getattr(_proxy, name))


def __dir__():
    return sorted({*globals(), *__all__})
