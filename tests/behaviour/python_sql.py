"""The SQL statement under which a variable changes: what counts as one, and what of it is told; sqlite3, on every
interpreter. Every program's output, error output and status are compared with those of its plain run.
"""

from unittest import mock

import harness
from harness import value
from sql_support import SQLITE_PREFIX, TRACK, USERS, SqliteCase, by_step, context


class GuideExample(harness.Case):
    def test_each_mutation_is_recorded_with_the_query_that_was_running(self):
        source = (harness.pathlib.Path(__file__).parents[2] / "examples" / "python" / "db_app.py").read_text()
        create = ("CREATE", "CREATE TABLE users (id INTEGER, name TEXT)")
        insert = ("INSERT", "INSERT INTO users VALUES (1, 'Alice')")

        def check(run):
            self.assertEqual([(event["path"], value(event["after"]), context(event)) for event in run.events],
                             [(["queries"], 1, None), (["queries"], 2, create), (["rows_affected"], 1, insert),
                              (["queries"], 3, insert)])
            self.assertEqual({event["thread_name"] for event in run.events}, {"MainThread"})
            self.assertEqual({(event["sql_context"]["driver"], event["sql_context"]["database"])
                              for event in run.events[1:]}, {("sqlite3", ":memory:")})
            self.assertNotIn("params", run.events[1]["sql_context"])

        self.on_all({"db_app.py": source}, check, options=["--track-sql", "--track-threads"], users=USERS, preload=(False,))
        self.on_all({"db_app.py": source}, check, preload=(True,),
                    environment={"WATCHER_TRACK_SQL": "1", "WATCHER_TRACK_THREADS": "1"})

    def test_nothing_is_told_and_nothing_patched_unless_it_is_asked_for(self):
        source = """\
import sqlite3
from watcher import watch
state = watch({}, name="state", track_sql=False, track_threads=False)
print(sqlite3.connect(":memory:").execute("select 1").fetchall())
state["step"] = 1
"""
        self.on_all({"app.py": source}, lambda run: self.assertEqual(
            [(context(event), event.get("thread_name")) for event in run.events], [(None, None)]))


class Sqlite(SqliteCase):
    def test_a_statement_holds_until_the_next_one_on_cursors_and_connections(self):
        self.check_steps("""\
connection = sqlite3.connect("file.db")
step(1)
cursor = connection.cursor()
print(cursor.execute("create table if not exists t (id integer, name text)") is cursor)
step(2)
cursor.executemany("insert into t values (?, ?)", ((i, "n") for i in range(3)))
step(3)
connection.commit()
step(4)
other = connection.execute("update t set name = ? where id = ?", ("x", 1))
step(5)
for row in cursor.execute("select id from t"):
    step(10 + row[0])
    other.execute("select 1")
    step(20 + row[0])
print(cursor.fetchone(), other.fetchmany(2), other.fetchall())
step(30)
cursor.executescript("delete from t; select 2;")
step(31)
connection.execute("insert into t values (9, 'é')")
step(32)
cursor.fetchall()
step(33)
connection.rollback()
step(34)
connection.close()
step(35)
import os; os.unlink("file.db")
""", {1: None, 2: ("CREATE", "create table if not exists t (id integer, name text)"),
      3: ("INSERT", "insert into t values (?, ?)"), 4: ("COMMIT", "COMMIT"),
      5: ("UPDATE", "update t set name = ? where id = ?"),
      **{10 + i: ("SELECT", "select id from t") for i in range(3)}, **{20 + i: ("SELECT", "select 1") for i in range(3)},
      30: ("SELECT", "select 1"), 31: ("DELETE", "delete from t; select 2;"),
      32: ("INSERT", "insert into t values (9, 'é')"), 33: ("DELETE", "delete from t; select 2;"),
      34: ("ROLLBACK", "ROLLBACK"), 35: None})

    def test_the_statement_is_known_while_it_runs_in_callbacks_of_the_library(self):
        self.check_steps("""\
connection = sqlite3.connect(":memory:")
connection.create_function("f", 1, lambda n: step(n) or n)
connection.row_factory = lambda cursor, row: step(100 + row[0]) or row
print(connection.execute("select f(7)").fetchall())
connection.executescript("create table t (a); insert into t values (f(8)); commit")
""", {7: ("SELECT", "select f(7)"), 107: ("SELECT", "select f(7)"),
      8: ("CREATE", "create table t (a); insert into t values (f(8)); commit")})

    def test_the_operation_is_the_first_keyword_behind_comments_and_with(self):
        statements = {1: ("  -- select\n /* ; */ insert into t values ('x')", "INSERT"),
                      2: ("with a as (select 'insert', (1)) select * from a", "SELECT"),
                      3: ("WITH a AS (SELECT 1), \"update\" AS (SELECT 2) DELETE FROM t", "DELETE"),
                      4: ("pragma user_version", "PRAGMA"), 5: ("", None), 6: ("savepoint s", "SAVEPOINT"),
                      7: ("explain select 1", "EXPLAIN"), 8: ("select 'é'", "SELECT")}
        program = "connection = sqlite3.connect(':memory:')\nconnection.execute('create table t (a)')\n"
        for number, (statement, _) in statements.items():
            program += f"connection.execute({statement!r})\nstep({number})\n"
        program += "class Text(str): pass\nconnection.execute(Text('select 9'))\nstep(9)\n"
        program += "connection.execute(Text('select 10, \"é\"'))\nstep(10)\n"
        self.check_steps(program, {9: ("SELECT", "select 9"), 10: ("SELECT", 'select 10, "é"'),
                                   **{number: (operation, statement or None)
                                      for number, (statement, operation) in statements.items()}})

    def test_transactions_as_context_managers_commit_or_roll_back(self):
        self.check_steps("""\
connection = sqlite3.connect(":memory:")
with connection as same:
    same.execute("create table t (a)")
    step(1)
step(2)
try:
    with connection:
        connection.execute("insert into t values (1)")
        raise KeyError("mine")
except KeyError as error:
    print(error)
step(3)
""", {1: ("CREATE", "create table t (a)"), 2: ("COMMIT", "COMMIT"), 3: ("ROLLBACK", "ROLLBACK")})

    def test_errors_tracebacks_and_what_can_be_asked_about_methods_stay_as_they_are(self):
        self.check_steps("""\
import inspect, pickle, traceback
class Connection(sqlite3.Connection):
    def execute(self, *arguments):
        print("overridden", arguments)
        return super().execute(*arguments)
    def commit(self):
        print("commit")
        super().commit()
class Cursor(sqlite3.Cursor):
    def execute(self, sql):
        step(1)
        return super().execute(sql)
connection = sqlite3.connect(":memory:", factory=Connection)
with connection:
    connection.execute("select ?", (1,))
cursor = connection.cursor(Cursor)
print(type(connection), type(cursor), type(sqlite3.Cursor.execute), sqlite3.Cursor.execute, sqlite3.Cursor.execute.__doc__)
print(cursor.execute("select 1") is cursor)
step(2)
print(list(map(str, cursor)), sqlite3.Cursor.__next__, type(iter(cursor)) is Cursor)
print(pickle.loads(pickle.dumps(sqlite3.Cursor.execute)) is sqlite3.Cursor.execute)
for wrong in ((), (1,), ("select 1", (), ()), ("select 1; select 2",), ("select ?", ()), ("\\0",), ("no",)):
    try:
        sqlite3.Cursor.execute(cursor, *wrong)
    except Exception as error:
        print(type(error), error)
try:
    sqlite3.Cursor.execute(connection, "select 1")
except TypeError as error:
    print(error)
try:
    sqlite3.Cursor.__new__(sqlite3.Cursor).execute("select 1")
except Exception as error:
    print(type(error), error)
for call in (lambda: cursor.execute(sql="select 1"), lambda: connection.fetch(), lambda: cursor.fetchmany(size=3)):
    try:
        print(type(call()))
    except Exception as error:
        print(type(error), error)
for method in (sqlite3.Cursor.fetchone, sqlite3.Connection.execute, sqlite3.Connection.commit):
    print(method, method.__name__, method.__qualname__, method.__text_signature__, method.__objclass__)
cursor.close()
step(3)
cursor.execute("select 3")
""", {1: ("SELECT", "select 1"), 2: ("SELECT", "select 1"), 3: ("SELECT", "select 1")})

    def test_a_module_and_a_connection_from_before_the_session_are_served(self):
        program = """\
import sqlite3
class Late(sqlite3.Cursor): pass
connection = sqlite3.connect(":memory:")
old = connection.cursor(Late)
old.execute("select 'old'")
from watcher import watch
state = watch({}, name="state", track_sql=True)
state["step"] = 1
connection.execute("select 'new'")
state["step"] = 2
old.execute("select 'old again'")
state["step"] = 3
connection.execute("select 4")
print(next(old))
state["step"] = 4
"""
        self.on_all({"app.py": program}, lambda run: self.assertEqual(
            by_step(run), {1: None, 2: ("SELECT", "select 'new'"), 3: ("SELECT", "select 'old again'"),
                           4: ("SELECT", "select 'old again'")}))

    def test_parameters_are_recorded_on_request_but_not_secrets(self):
        program = """\
connection = sqlite3.connect(":memory:")
connection.execute("create table t (a, password)")
connection.execute("insert into t (a) values (?)", (1,)); step(1)
connection.execute("insert into t values (:name, :Password)", {"name": "n", "Password": "hush1"}); step(2)
connection.execute("update t set password = ? where a = ?", ("hush2", 1)); step(3)
connection.executemany("insert into t values (:a, :token)", [{"a": 1, "token": "hush3"}]); step(4)
connection.execute("select ?", ("x" * 5000,)); step(5)
connection.execute("select 6"); step(6)
"""

        def check(run):
            params = {value(event["after"]): event["sql_context"].get("params") for event in run.of("state")}
            self.assertEqual((params[1], params[2], params[3], params[6]),
                             ("(1)", "{'name': 'n', 'Password': ***}", "(***, ***)", None))
            self.assertEqual(params[4], "[{'a': 1, 'token': ***}]")
            self.assertLess(len(params[5]), 1100)
            self.assertNotIn("hush", repr(run.events))

        self.on_all({"app.py": SQLITE_PREFIX + program}, check, options=TRACK + ["--sql-params", "record"])

    def test_endless_different_statements_are_cut_and_counted_and_lose_no_event(self):
        program = """\
connection = sqlite3.connect(":memory:")
connection.execute("create table t (a, b)")
for i in range(20000):
    connection.execute("insert into t values (%d, 'text %d')" % (i, i))
    step(i)
long = "select '" + "x" * 10000 + "'"
connection.execute(long)
step("long")
"""

        def check(run):
            steps = run.of("state")
            self.assertEqual([value(event["after"]) for event in steps], list(range(20000)) + ["long"])
            whole = [event for event in steps if "cut" not in event["sql_context"]]
            self.assertGreater(len(whole), 1000)
            for i, event in enumerate(whole):
                self.assertEqual(context(event), ("INSERT", f"insert into t values ({i}, 'text {i}')"))
            self.assertEqual({context(event) for event in steps[len(whole):-1]}, {("INSERT", "insert into t values (?, ?)")})
            self.assertEqual(steps[-1]["sql_context"]["operation"], "SELECT")
            process = run.summary["processes"][0]
            self.assertEqual(process["contexts_cut"], 20000 - len(whole) + 1)
            self.assertEqual(process["dictionary_refused"], 0)

        with mock.patch.object(harness, "INTERPRETERS", harness.INTERPRETERS[:1]):
            self.on_all({"app.py": SQLITE_PREFIX + program}, check, options=TRACK)


if __name__ == "__main__":
    harness.main()
