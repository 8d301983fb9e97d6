"""Watcher: who changed this variable?

    from watcher import watch

    counter = watch(0, name="counter")    # every later change of `counter` is recorded
    records = watch([], name="records")   # so is every change inside the list

A watched variable keeps its real value and type. Events are written as JSON lines to events.jsonl in the
output directory.
"""

__all__ = ["watch"]
