"""What is named like a secret: no value of it gets into any file, whatever it is spelled like and wherever it stands."""

import pathlib
import unittest

import harness

NAMES = (pathlib.Path(__file__).parent / "secret_names.txt").read_text().split()


def spellings(name):
    words = name.split("_")
    camel = words[0] + "".join(word.capitalize() for word in words[1:])
    return [name, camel, name.upper(), "-".join(words), "$" + "".join(word.capitalize() for word in words) + "@"]


# Keys of a dict, of nested dicts, attributes, names, buffers, whole descriptions; CANARY stands in each value.
PROGRAM = """
import sys
from watcher import watch
NAMES = %r

class Settings:
    pass

def secret(name):
    return "CANARY-" + name + "-CANARY"

def main():
    state = watch({}, name="state")
    whole = watch(None, name="whole")
    for name in NAMES:
        state[name] = secret(name)
        state[name] = secret("again")
        state["nested"] = {name: {"of": [secret(name)]}, "visible": "shown"}
        whole = {"visible": "shown", name: secret(name), "last": 1}
        whole = [("a", {name: secret(name)}), 7]
        del state[name]
    state.update({NAMES[0]: secret("updated")})
    state.clear()
    settings = watch(Settings(), name="settings")
    for name in NAMES:
        setattr(settings, name, secret(name))
    password = watch(secret("plain"), name="password")
    password = secret("later")
    password = None
    api_tokens = watch([secret("item")], name="api_tokens")
    api_tokens.append(secret("appended"))
    api_tokens[0] = secret("replaced")
    cookies = watch(set(), name="cookies")
    cookies.add(secret("added"))
    cookies.add(secret("bytes").encode())
    cookies.update([secret("one"), secret("two"), (secret("three"), 4)])
    cookies.remove(secret("one"))
    cookies -= {secret("two")}
    cookies.pop()
    private_key = watch(bytearray(64), name="private_key")
    private_key[:] = secret("buffer").encode().ljust(64)
    author = watch("", name="author")
    author = "Ada"
    print("done", len(NAMES))

main()
"""

RULES = '[[watch]]\nfile = "secrets.py"\nlocal = ["main.password", "main.whole"]\n'


class Secrets(harness.Case):
    settings = {"WATCHER_RECORD_INIT": "true", "WATCHER_DEPTH": "4"}

    def assert_no_plaintext(self):
        """Looks through all files of the run, and removes them."""
        files = [path for path in self.directory.glob("out-*/*") if path.is_file()]
        self.assertIn("events.jsonl", {path.name for path in files})
        for path in files:
            leaks = [line[:600] for line in path.read_bytes().splitlines() if b"CANARY" in line]
            self.assertEqual(leaks[:3], [], path)
            self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)
            path.unlink()

    def check(self, run):
        self.assert_no_plaintext()
        stored = [event for event in run.of("state") if event["op"] == "setitem" and event["path"] != ["nested"]]
        self.assertGreaterEqual(len(stored), 2 * len(self.names))
        for event in stored:
            self.assertEqual(event["after"], {"type": "str", "redacted": True})
            self.assertEqual(event["deltas"], [])
        self.assertEqual([event["path"][0] for event in stored[:2 * len(self.names):2]], self.names)
        for event in run.of("state"):
            if event["path"] == ["nested"]:
                self.assertIn("'visible': 'shown'", event["after"]["repr"])
        visible = [event["after"]["repr"] for event in run.of("whole") if event["after"] and "repr" in event["after"]]
        self.assertEqual(sum("'visible': 'shown'" in text for text in visible), len(self.names))
        self.assertEqual(sum("[redacted]" in text for text in visible), 2 * len(self.names))
        self.assertEqual(harness.changes(run.of("author"))[-1], ("store", "", "Ada"))
        self.assertIn("write", {event["op"] for event in run.of("private_key")})
        for name in ("password", "api_tokens", "cookies", "private_key"):
            self.assertGreater(len(run.of(name)), 1)
            for event in run.of(name):
                self.assertEqual(event["deltas"], [], event)
                for side in (event["before"], event["after"]):
                    self.assertTrue(side is None or set(side) == {"type", "redacted"}, event)
        self.assertGreater(run.summary["redacted"], 4 * len(self.names))

    def test_two_hundred_names_in_five_spellings(self):
        self.assertGreaterEqual(len(NAMES), 200)
        for index in range(5):
            self.names = [spellings(name)[index] for name in NAMES]
            program = self.write({"secrets.py": PROGRAM % (self.names,)})
            for version, python in harness.INTERPRETERS[:1] if index else harness.INTERPRETERS:
                with self.subTest(python=python, spelling=index):
                    plain = self.plain(python, program)
                    run = self.watched(python, program, config=RULES)
                    self.assert_same_host(plain, run)
                    self.check(run)

    def test_names_can_be_added_and_allowed(self):
        program = self.write({"secrets.py": "from watcher import watch\n"
                                            "favourite = watch('', name='favourite')\nfavourite = 'CANARY'\n"
                                            "max_token = watch('', name='max_token')\nmax_token = 'shown'\n"})
        table = '[redact]\nnames = ["fav*"]\nallow = ["max_token"]\n'
        for version, python in harness.INTERPRETERS[:1]:
            run = self.watched(python, program, config=table)
            self.assertEqual(run.of("favourite")[-1]["after"], {"type": "str", "redacted": True})
            self.assertEqual(harness.changes(run.of("max_token"))[-1], ("store", "", "shown"))
            self.assert_no_plaintext()
            shown = self.watched(python, program, config="[redact]\nenabled = false\n")
            self.assertEqual(harness.changes(shown.of("favourite"))[-1], ("store", "", "CANARY"))
            self.assertEqual(shown.summary["redacted"], 0)


SQL = """
import sqlite3
from watcher import watch
connection = sqlite3.connect(":memory:")
connection.execute("create table users (name, %(column)s)")
row = watch(0, name="row")
connection.execute("insert into users (name, %(column)s) values (?, ?)", ("ada", "CANARY"))
row = 1
connection.execute("select :name, :%(column)s", {"name": "ada", "%(column)s": "CANARY"})
row = 2
connection.execute("select ?", ("visible",))
row = 3
"""


class SqlParameters(harness.Case):
    def test_parameters_with_secret_names_are_hidden(self):
        for column, options in (("user_pin", '[redact]\nnames = ["user_pin"]\n'), ("cvv", ""), ("signing_key", "")):
            program = self.write({"users.py": SQL % {"column": column}})
            for version, python in harness.INTERPRETERS:
                with self.subTest(python=python, column=column):
                    run = self.watched(python, program, config=options, options=["--track-sql", "--sql-params", "record"])
                    params = [event["sql_context"]["params"] for event in run.of("row")]
                    self.assertEqual(len(params), 3)
                    self.assertNotIn("CANARY", "".join(params))
                    self.assertIn("'name': 'ada'", params[1])
                    self.assertIn("visible", params[2])


if __name__ == "__main__":
    harness.main()
