"""The SQL statement under which a variable of a Node program changes: the drivers of npm, with real servers.

The drivers are installed from node/drivers/package-lock.json once, into the cache of node_support.py.
"""

import functools
import os
import pathlib
import shutil
import subprocess
import sys

import sql_servers
from node_programs import Case, main
from node_support import cache, install

LOCK = pathlib.Path(__file__).parent / "node" / "drivers"
CACHE = cache().parent / "node-drivers"
START = """\
const { watch } = require('watcher')
const state = watch({}, { name: 'state' })
const step = (n) => { state.step = n }
"""


@functools.cache
def drivers():
    """The directory of their modules."""
    install(CACHE, LOCK, (CACHE / "node_modules" / ".package-lock.json").exists)
    return CACHE / "node_modules"


@functools.cache
def built(name, file):
    """Is this driver's native half there? Compiled for the system's node, whose headers Debian has, where time is no matter."""
    home = drivers() / name
    if not (home / "build" / "Release" / file).exists() and os.environ.get("WATCHER_TESTS_FULL") == "1":
        gyp = shutil.which("node-gyp") or drivers() / ".bin" / "node-gyp"
        done = subprocess.run([gyp, "rebuild", "--release", "--nodedir=/usr"], cwd=home, capture_output=True, text=True)
        if done.returncode != 0:
            print(f"not tested: {name} cannot be built here: {done.stderr[-300:]}", file=sys.stderr)
    return (home / "build" / "Release" / file).exists()


@functools.cache
def postgres():
    return sql_servers.Postgres()


@functools.cache
def mariadb():
    return sql_servers.MariaDb()


class SqlCase(Case):
    def statements(self, run):
        return {event["after"]["value"]: (event["sql_context"] or {}).get("statement") for event in run.of("state")}

    def check_steps(self, program, expected, since=18, options=("--track-sql",)):
        environment = {"NODE_PATH": str(drivers())}
        files = {"app.js": START + program}
        check = lambda run: self.assertEqual(self.statements(run), expected)  # noqa: E731
        self.on_nodes(files, check, options=options, environment=environment, since=since)


class Postgres(SqlCase):
    def client(self, more=""):
        return f"{{ host: {str(postgres().directory)!r}, user: 'tester', database: 'postgres'{more} }}"

    def test_transactions_callbacks_and_pipelines(self):
        self.check_steps(f"""\
const {{ Client }} = require('pg')
async function main() {{
  const client = new Client({self.client()})
  await client.connect()
  step(0)
  await client.query('create temp table t (a int)'); step(1)
  await client.query('BEGIN'); step(2)
  await client.query({{ text: 'insert into t values ($1)', values: [7] }}); step(3)
  await client.query({{ name: 'prepared', text: 'select a from t where a = $1', values: [7] }}); step(4)
  await client.query('COMMIT'); step(5)
  await Promise.all([client.query('select 1'), client.query('select 2')]); step(6)
  await new Promise((done) => client.query('select 3', () => {{ step(7); setTimeout(() => {{ step(8); done() }}, 1) }}))
  const other = async (n) => {{ await client.query('select ' + n); await null; step(n) }}
  await Promise.all([other(20), other(21), other(22)])
  try {{ await client.query('select wrong'); }} catch (error) {{ step(9); console.log(error.message, error.stack.split('\\n').length) }}
  await client.end()
}}
main()
""", {0: None, 1: "create temp table t (a int)", 2: "BEGIN", 3: "insert into t values ($1)", 4: "select a from t where a = $1", 5: "COMMIT",
                  6: "select 2", 7: "select 3", 8: "select 3", 20: "select 20", 21: "select 21", 22: "select 22", 9: "select wrong"})

    def test_pools(self):
        self.check_steps(f"""\
const {{ Pool }} = require('pg')
const pool = new Pool({self.client(', max: 2')})
async function one(n) {{ await pool.query('select $1::int', [n]); step(n) }}
async function held(n) {{
  const client = await pool.connect()
  await client.query(`select ${{n}}`); step(n)
  client.release()
}}
Promise.all([one(1), held(2), held(3)]).then(() => pool.end())
""", {1: "select $1::int", 2: "select 2", 3: "select 3"})

    def test_the_rest_of_the_context(self):
        program = START + f"""\
const {{ Client }} = require('pg')
const client = new Client({self.client()})
async function main() {{
  await client.connect()
  await client.query('/* note */ select $1::text as password', ['y'])
  step(1)
  await client.end()
}}
main()
"""
        context = {"statement": "/* note */ select $1::text as password", "operation": "SELECT", "driver": "pg", "database": "postgres", "params": "[***]"}
        self.on_nodes({"app.js": program}, lambda run: self.assertEqual([e["sql_context"] for e in run.events][-1], context),
                      options=["--track-sql", "--sql-params", "record"], environment={"NODE_PATH": str(drivers())})

    def test_nothing_is_told_unless_asked_for(self):
        self.check_steps(f"""\
const {{ Client }} = require('pg')
const client = new Client({self.client()})
client.connect().then(() => client.query('select 1')).then(() => {{ step(1); return client.end() }})
""", {1: None}, options=())


class MariaDb(SqlCase):
    def test_callbacks_promises_and_prepared_statements(self):
        self.check_steps(f"""\
const mysql = require('mysql2')
const settings = {{ socketPath: {str(mariadb().socket)!r}, user: 'root', database: 'shop' }}
const client = mysql.createConnection(settings)
client.query('select 1', () => {{
  step(1)
  client.execute('select ? + 2', [1], async () => {{
    step(2)
    const soon = client.promise()
    await soon.query('select 3'); step(3)
    await soon.execute('select ? + 4', [1]); step(4)
    await soon.end()
    const pool = mysql.createPool(settings).promise()
    await pool.query('select 5'); step(5)
    await pool.execute('select ? + 6', [1]); step(6)
    await pool.end()
  }})
}})
""", {1: "select 1", 2: "select ? + 2", 3: "select 3", 4: "select ? + 4", 5: "select 5", 6: "select ? + 6"})


class Sqlite(SqlCase):
    def test_the_built_in_module(self):
        body = "const d = new DatabaseSync(':memory:'); d.exec('create table v (a int)'); step(1)\n" \
               "const p = d.prepare('insert into v values (?)'); p.run(1); step(2)\n" \
               "for (const row of d.prepare('select a from v').all()) step(3)\n"
        expected = {1: "create table v (a int)", 2: "insert into v values (?)", 3: "select a from v"}
        self.check_steps("const { DatabaseSync } = require('node:sqlite')\n" + body, expected, since=22)

    def test_sqlite3(self):
        if not built("sqlite3", "node_sqlite3.node"):
            self.skipTest("sqlite3 is compiled only with WATCHER_TESTS_FULL=1")
        self.check_steps("""\
const sqlite3 = require('sqlite3')
const db = new sqlite3.Database(':memory:')
db.serialize(() => {
  db.run('create table u (a int)', function () { step(1) })
  db.run('insert into u values (?)', [1], () => step(2))
  db.each('select a from u', () => step(3), () => step(4))
  const made = db.prepare('insert into u values (?) -- again'); made.run(9, () => step(5)); made.finalize()
  db.close()
})
""", {1: "create table u (a int)", 2: "insert into u values (?)", 3: "select a from u", 4: "select a from u",
                  5: "insert into u values (?) -- again"})

    def test_better_sqlite3(self):
        if not built("better-sqlite3", "better_sqlite3.node"):
            self.skipTest("better-sqlite3 is compiled only with WATCHER_TESTS_FULL=1")
        system = shutil.which("node")
        version = subprocess.run([system, "-p", "process.versions.node"], capture_output=True, text=True).stdout
        program = START + """\
const Database = require('better-sqlite3')
const db = new Database(':memory:')
db.exec('create table t (a int)'); step(1)
const insert = db.prepare('insert into t values (?)'); insert.run(4); step(2)
for (const row of db.prepare('select a from t').iterate()) step(3)
db.transaction(() => { insert.run(5); step(4) })(); step(5)
db.pragma('user_version'); step(6)
"""
        expected = {1: "create table t (a int)", 2: "insert into t values (?)", 3: "select a from t", 4: "insert into t values (?)", 5: "COMMIT",
                    6: "PRAGMA user_version"}
        self.on_nodes({"app.js": program}, lambda run: self.assertEqual(self.statements(run), expected), options=["--track-sql"],
                      environment={"NODE_PATH": str(drivers())}, only=int(version.split(".")[0]))

    def test_sequelize_over_sqlite3(self):
        if not built("sqlite3", "node_sqlite3.node"):
            self.skipTest("sqlite3 is compiled only with WATCHER_TESTS_FULL=1")
        program = START + """\
const { Sequelize, DataTypes } = require('sequelize')
async function main() {
  const db = new Sequelize({ dialect: 'sqlite', storage: ':memory:', logging: false })
  const User = db.define('User', { name: DataTypes.STRING }, { timestamps: false })
  await db.sync()
  const user = await User.create({ name: 'a' }); step(1)
  await user.update({ name: 'b' }); step(2)
  await db.query('select 9'); step(3)
}
main()
"""
        self.on_nodes({"app.js": program}, lambda run: self.assertEqual([text.split()[0] for text in self.statements(run).values()],
                                                                        ["INSERT", "UPDATE", "select"]),
                      options=["--track-sql"], environment={"NODE_PATH": str(drivers())})


if __name__ == "__main__":
    main()
