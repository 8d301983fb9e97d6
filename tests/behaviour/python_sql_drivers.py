"""The SQL statement under which a variable changes: psycopg2, psycopg and MySQLdb with real servers, on the interpreters that
have them.
"""

import functools
from unittest import mock

import harness
import sql_servers
from sql_support import DEBIAN, TRACK, USERS, by_step, interpreters_with


@functools.cache
def postgres():
    return sql_servers.Postgres()


@functools.cache
def mariadb():
    return sql_servers.MariaDb()


class DriverCase(harness.Case):
    """Runs programs with a driver; `connect` is what they call connect() with."""

    def check_program(self, program, check, driver, late=False, options=TRACK, **settings):
        usable = interpreters_with(driver)
        self.assertTrue(usable, f"no interpreter has {driver}")
        watch = "from watcher import watch\nstate = watch({}, name='state'%s)\n" % (", track_sql=True" if late else "")
        imports = f"import sys\nsys.path.append({DEBIAN!r})\nimport {driver}\n"
        step = "def step(n):\n    state['step'] = n\n"
        source = imports + watch + step if late else watch + imports + step
        with mock.patch.object(harness, "INTERPRETERS", usable):
            self.on_all({"app.py": source + program}, check, options=() if late else options, **settings)

    def check_steps(self, program, expected, driver, **settings):
        self.check_program(program, lambda run: self.assertEqual(by_step(run), expected), driver, **settings)


class Psycopg2(DriverCase):
    PROGRAM = """\
import io, psycopg2.extras, psycopg2.sql
from psycopg2 import sql
connection = psycopg2.connect(%r)
cursor = connection.cursor()
cursor.execute("create temp table t (a int, b text)")
step(1)
cursor.execute(b"insert into t values (%%s, %%s)", (1, "x"))
step(2)
connection.commit()
step(3)
with connection:
    with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as dicts:
        dicts.execute(query="select a from t")
        for row in dicts:
            step(10 + row["a"])
step(4)
psycopg2.extras.execute_values(cursor, "insert into t values %%s", [(2, "y"), (3, "z")])
step(5)
cursor.executemany("insert into t values (%%s, %%s)", [(4, "a")])
step(6)
cursor.execute(sql.SQL("select {} from {} where b = {}").format(sql.Identifier("a"), sql.Identifier("t"), sql.Literal("x")))
print(cursor.fetchall())
step(7)
cursor.copy_expert("copy t to stdout", io.StringIO())
step(8)
cursor.copy_from(io.StringIO("7\\tq\\n"), "t")
step(9)
cursor.copy_to(io.StringIO(), "t")
step(20)
try:
    cursor.execute("select nothing from nowhere")
except psycopg2.Error as error:
    print(type(error), error)
step(21)
connection.rollback()
step(22)
named = connection.cursor("named")
named.execute("select generate_series(1, 3)")
print([row for row in named], named.query)
step(23)
cursor.callproc("lower", ("X",))
print(cursor.fetchone(), cursor.mogrify("%%s", (1,)), cursor)
step(24)
connection.close()
step(25)
try:
    cursor.execute("select 1")
except psycopg2.Error as error:
    print(type(error), error)
""".replace(", cursor)", ", type(cursor))")
    STEPS = {1: ("CREATE", "create temp table t (a int, b text)"), 2: ("INSERT", "insert into t values (%s, %s)"),
             3: ("COMMIT", "COMMIT"), 11: ("SELECT", "select a from t"), 4: ("COMMIT", "COMMIT"),
             5: ("INSERT", "insert into t values %s"), 6: ("INSERT", "insert into t values (%s, %s)"),
             7: ("SELECT", 'select "a" from "t" where b = ?'), 8: ("COPY", "copy t to stdout"),
             9: ("COPY", "COPY t FROM STDIN"), 20: ("COPY", "COPY t TO STDOUT"),
             21: ("SELECT", "select nothing from nowhere"), 22: ("ROLLBACK", "ROLLBACK"),
             23: ("SELECT", "select generate_series(1, 3)"), 24: ("CALL", "CALL lower"), 25: None}

    def connect(self):
        return f"host={postgres().directory} user=tester dbname=postgres password=hush"

    def test_cursors_transactions_helpers_copy_and_errors(self):
        def check(run):
            self.assertEqual(by_step(run), self.STEPS)
            self.assertEqual({event["sql_context"]["database"] for event in run.events if event["sql_context"]}, {"postgres"})
            self.assertNotIn("hush", repr(run.events))

        self.check_program(self.PROGRAM % self.connect(), check, "psycopg2", users=USERS)

    def test_a_driver_imported_before_the_session(self):
        self.check_steps(self.PROGRAM % self.connect(), self.STEPS, "psycopg2", late=True)


class Psycopg(DriverCase):
    PROGRAM = """\
import inspect, traceback
from psycopg import sql
print(inspect.signature(psycopg.Cursor.execute), inspect.iscoroutinefunction(psycopg.AsyncCursor.execute))
connection = psycopg.connect(%r)
cursor = connection.cursor()
cursor.execute("create temp table t (a int, b text)")
step(1)
connection.execute("insert into t values (%%s, %%s)", (1, "x"))
step(2)
connection.commit()
step(3)
cursor.executemany("insert into t values (%%s, %%s)", [(2, "y"), (3, "z")])
step(4)
other = connection.cursor()
for row in cursor.execute("select a from t order by a"):
    step(10 + row[0])
    other.execute("select 1")
    step(20 + row[0])
print(cursor.fetchone(), other.fetchone())
step(5)
connection.commit()
with connection.transaction():
    cursor.execute(sql.SQL("select {} from {}").format(sql.Identifier("a"), sql.Identifier("t")))
    step(6)
    with connection.transaction("inner"):
        pass
    step(70)
step(71)
try:
    with connection.transaction():
        cursor.execute("select 71")
        raise KeyError
except KeyError:
    step(72)
connection.execute("select 73")
connection.rollback()
step(7)
with cursor.copy("copy t from stdin") as copy:
    copy.write_row((7, "q"))
    step(8)
for row in cursor.stream("select 40 + generate_series(1, 2)"):
    other.description
    step(row[0])
with connection.cursor("server") as server:
    server.execute("select 50 + generate_series(1, 2)")
    for row in server:
        step(row[0])
connection.commit()
with connection.pipeline():
    first, second = connection.cursor(), connection.cursor()
    first.execute("select 'first'")
    second.execute("select 'second'")
    step(60)
    print(first.fetchone())
    step(61)
try:
    connection.execute("select nothing\\nfrom nowhere")
except psycopg.Error:
    traceback.print_exc()
step(62)
connection.close()
step(63)
connection.execute("select 1")
"""
    SELECT = ("SELECT", "select a from t order by a")
    STEPS = {1: ("CREATE", "create temp table t (a int, b text)"), 2: ("INSERT", "insert into t values (%s, %s)"),
             3: ("COMMIT", "COMMIT"), 4: ("INSERT", "insert into t values (%s, %s)"), 11: SELECT, 12: SELECT, 13: SELECT,
             21: ("SELECT", "select 1"), 22: ("SELECT", "select 1"), 23: ("SELECT", "select 1"), 5: ("SELECT", "select 1"),
             6: ("SELECT", 'select "a" from "t"'), 70: ("RELEASE", "RELEASE inner"), 71: ("COMMIT", "COMMIT"),
             72: ("ROLLBACK", "ROLLBACK"), 7: ("ROLLBACK", "ROLLBACK"), 8: ("COPY", "copy t from stdin"),
             41: ("SELECT", "select 40 + generate_series(1, 2)"), 42: ("SELECT", "select 40 + generate_series(1, 2)"),
             51: ("SELECT", "select 50 + generate_series(1, 2)"), 52: ("SELECT", "select 50 + generate_series(1, 2)"),
             60: ("SELECT", "select 'second'"), 61: ("SELECT", "select 'first'"),
             62: ("SELECT", "select nothing\nfrom nowhere"), 63: None}

    def connect(self):
        return f"host={postgres().directory} user=tester dbname=postgres password=hush"

    def test_cursors_transactions_streams_pipelines_copy_and_errors(self):
        def check(run):
            self.assertEqual(by_step(run), self.STEPS)
            self.assertEqual({(event["sql_context"]["driver"], event["sql_context"]["database"])
                              for event in run.events if event["sql_context"]}, {("psycopg", "postgres")})

        self.check_program(self.PROGRAM % self.connect(), check, "psycopg", users=USERS)

    def test_a_driver_imported_before_the_session(self):
        self.check_steps(self.PROGRAM % self.connect(), self.STEPS, "psycopg", late=True)

    def test_asyncio_tasks_that_take_turns(self):
        program = """\
import asyncio
async def worker(connection, name):
    cursor = connection.cursor()
    for i in range(3):
        pending = cursor.execute("select '%%s', %%%%s, pg_sleep(0.01)" %% name, (i,))
        step("%%s-before-%%d" %% (name, i))
        await pending
        step("%%s-%%d" %% (name, i))
        await asyncio.sleep(0)
        async for row in cursor:
            step("%%s-row-%%d" %% (name, i))
async def main():
    connections = [await psycopg.AsyncConnection.connect(%r, autocommit=True) for _ in range(2)]
    await asyncio.gather(*[worker(connection, name) for connection, name in zip(connections, "ab")])
    step("main")
    async with connections[0].transaction():
        async with connections[0].cursor() as cursor:
            async with cursor.copy("copy (select 1) to stdout") as copy:
                async for data in copy:
                    step("copy")
    for connection in connections: await connection.close()
asyncio.run(main())
""" % self.connect()
        expected = {"main": None, "copy": ("COPY", "copy (select 1) to stdout"), "a-before-0": None, "b-before-0": None}
        for name in "ab":
            select = ("SELECT", f"select '{name}', %s, pg_sleep(0.01)")
            expected.update({f"{name}-{i}": select for i in range(3)})
            expected.update({f"{name}-row-{i}": select for i in range(3)})
            expected.update({f"{name}-before-{i}": select for i in (1, 2)})
        self.check_steps(program, expected, "psycopg")
        self.check_steps(program, expected, "psycopg", late=True)


class MySqlDb(DriverCase):
    PROGRAM = """\
import inspect, MySQLdb.cursors
print(inspect.signature(MySQLdb.cursors.BaseCursor.execute), inspect.getsource(MySQLdb.cursors.BaseCursor.executemany)[:20])
connection = MySQLdb.connect(unix_socket=%r, user="root", db="shop")
cursor = connection.cursor()
cursor.execute("create temporary table t (a int, b text)")
step(1)
cursor.execute("insert into t values (%%s, %%s)", (1, "x"))
step(2)
connection.commit()
step(3)
print(cursor.executemany("insert into t values (%%s, %%s)", [(2, "y"), (3, "z")]))
step(4)
cursor.executemany("update t set b = %%s where a = %%s", [("q", 2)])
step(5)
other = connection.cursor(MySQLdb.cursors.DictCursor)
cursor.execute("select a from t order by a")
other.execute("select 1 as one")
step(6)
print(cursor.fetchone(), other.fetchall())
step(7)
cursor.fetchmany(1)
step(8)
connection.rollback()
step(9)
streamed = connection.cursor(MySQLdb.cursors.SSCursor)
streamed.execute("select 20 + a from t where a < 3 order by a")
for row in streamed:
    step(row[0])
streamed.close()
try:
    cursor.execute("select nothing from nowhere")
except MySQLdb.Error as error:
    print(type(error), error)
step(10)
connection.close()
step(11)
cursor.execute("select 1")
"""
    STEPS = {1: ("CREATE", "create temporary table t (a int, b text)"), 2: ("INSERT", "insert into t values (%s, %s)"),
             3: ("COMMIT", "COMMIT"), 4: ("INSERT", "insert into t values (%s, %s)"),
             5: ("UPDATE", "update t set b = %s where a = %s"), 6: ("SELECT", "select 1 as one"),
             7: ("SELECT", "select 1 as one"), 8: ("SELECT", "select a from t order by a"), 9: ("ROLLBACK", "ROLLBACK"),
             21: ("SELECT", "select 20 + a from t where a < 3 order by a"),
             10: ("SELECT", "select nothing from nowhere"), 11: None}

    def test_cursors_transactions_and_errors(self):
        def check(run):
            self.assertEqual(by_step(run), self.STEPS)
            self.assertEqual({(event["sql_context"]["driver"], event["sql_context"]["database"])
                              for event in run.events if event["sql_context"]}, {("MySQLdb", "shop")})

        self.check_program(self.PROGRAM % str(mariadb().socket), check, "MySQLdb")

    def test_a_driver_imported_before_the_session(self):
        self.check_steps(self.PROGRAM % str(mariadb().socket), self.STEPS, "MySQLdb", late=True)


if __name__ == "__main__":
    harness.main()
