"""What the tests of SQL statements share."""

import subprocess

import harness
from harness import value

TRACK = ["--track-sql"]
USERS = (None, harness.NOBODY)


def context(event):
    sql = event["sql_context"]
    return sql and (sql["operation"], sql["statement"])


def by_step(run, name="state"):
    """What `state["step"] = n` was executed under, by n."""
    return {value(event["after"]): context(event) for event in run.of(name)}


DEBIAN = "/usr/lib/python3/dist-packages"


def interpreters_with(module):
    """The interpreters here that can import it, from Debian's packages if not from their own."""
    probe = f"import sys; sys.path.append({DEBIAN!r}); import {module}"
    return [(version, python) for version, python in harness.INTERPRETERS
            if subprocess.run([python, "-c", probe], capture_output=True).returncode == 0]


SQLITE_PREFIX = """\
import sqlite3, sys
from watcher import watch
state = watch({}, name="state")
def step(n):
    state["step"] = n
"""


class SqliteCase(harness.Case):
    """Programs that follow SQLITE_PREFIX; `expected` is the context of each of their steps."""

    def check_steps(self, program, expected, **settings):
        settings.setdefault("options", TRACK)
        self.on_all({"app.py": SQLITE_PREFIX + program}, lambda run: self.assertEqual(by_step(run), expected), **settings)
