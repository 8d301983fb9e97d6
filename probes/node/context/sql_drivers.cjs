// The methods by which each driver is asked to execute a statement. They are the drivers' own, with a look at their
// arguments in front (binding.around); what they return, throw and are called is unchanged.
'use strict';
Object.defineProperty(require.cache, __filename, { enumerable: false });

const { begin, under, share } = require('./sql.cjs');
const binding = process._linkedBinding('watcher');

const patched = new WeakSet();

/// `see(self, args)` in front of owner[name]; it may return other arguments.
function lead(owner, name, see, after) {
  const own = owner && Object.getOwnPropertyDescriptor(owner, name);
  if (!own || typeof own.value !== 'function' || patched.has(own.value)) return;
  const original = own.value;
  const led = binding.around(
    original,
    function (...args) {
      try {
        return see(this, args);
      } catch {
        return undefined; // the driver has its own opinion of these arguments
      }
    },
    after,
  );
  for (const key of ['name', 'length']) Object.defineProperty(led, key, { value: original[key], configurable: true });
  patched.add(led);
  Object.defineProperty(owner, name, { ...own, value: led });
}

const prototypeOf = (made) => made && made.prototype;
const isText = (value) => typeof value === 'string';
/// What pg and mysql2 are called with: a text, or an object that has it.
const textOf = (query) => (isText(query) ? query : query && (query.text ?? query.sql ?? query.query?.text));
const valuesOf = (query, values) => (typeof values === 'function' || values === undefined ? query?.values : values);

/// The same arguments, with callbacks that go on under the statement: they are called from the connection's events.
const goingOn = (statement, args) =>
  statement === 0 ? undefined : args.map((value) => (typeof value === 'function' ? under(statement, value) : value));

function leadQuery(Class, names, driver, databaseOf) {
  for (const name of names)
    lead(prototypeOf(Class), name, (self, args) => {
      const [query, values] = args;
      return goingOn(begin(driver, textOf(query), databaseOf(self), valuesOf(query, values)), args);
    });
}

const leadPg = (Client) => leadQuery(Client, ['query'], 'pg', (self) => self.database ?? self.connectionParameters?.database);
const leadPgPool = (Pool) => leadQuery(Pool, ['query'], 'pg', (self) => self.options?.database);

function leadMysqlConnection(Connection) {
  lead(prototypeOf(Connection), 'addCommand', (self, [command]) => {
    const text = command && (command.sql ?? command.query ?? command.statement?.query);
    const statement = begin('mysql2', text, self.config?.database, command?.values ?? command?.parameters);
    if (statement !== 0 && typeof command.onResult === 'function') command.onResult = under(statement, command.onResult);
  });
}

const leadMysqlPool = (Pool) => leadQuery(Pool, ['query', 'execute'], 'mysql2', (self) => self.config?.connectionConfig?.database);

function leadStatement(statement, driver, names, text, database) {
  for (const name of names)
    lead(Object.getPrototypeOf(statement), name, (self, args) => {
      begin(driver, text(self), database(self), args.length > 1 || typeof args[0] !== 'object' ? args : args[0]);
    });
}

function leadBetterSqlite(Database) {
  const prototype = prototypeOf(Database);
  lead(prototype, 'exec', (self, [text]) => void begin('better-sqlite3', text, self.name));
  lead(prototype, 'pragma', (self, [text]) => void begin('better-sqlite3', isText(text) ? `PRAGMA ${text}` : text, self.name));
  lead(prototype, 'prepare', () => undefined, (self, statement) =>
    leadStatement(statement, 'better-sqlite3', ['run', 'get', 'all', 'iterate'], (one) => one.source, (one) => one.database?.name),
  );
}

/// Its callbacks run from a queue of its own, which has no async context on every version.
function beginSqlite3(text, database, args) {
  const values = args.filter((value) => typeof value !== 'function');
  return goingOn(begin('sqlite3', text, database, values.length === 1 && typeof values[0] === 'object' ? values[0] : values), args);
}

const statementTexts = new WeakMap();

function leadSqlite3(sqlite3) {
  for (const name of ['run', 'get', 'all', 'each', 'map', 'exec', 'prepare'])
    lead(prototypeOf(sqlite3.Database), name, (self, [text, ...rest]) => {
      const others = beginSqlite3(text, self.filename, rest);
      return others && [text, ...others];
    });
  for (const name of ['run', 'get', 'all', 'each', 'map'])
    lead(prototypeOf(sqlite3.Statement), name, (self, args) => beginSqlite3(self.sql, undefined, args));
}

function leadNodeSqlite({ DatabaseSync }) {
  const prototype = prototypeOf(DatabaseSync);
  const locationOf = (self) => (typeof self.location === 'function' ? self.location() : '');
  lead(prototype, 'exec', (self, [text]) => void begin('node:sqlite', text, locationOf(self)));
  lead(prototype, 'prepare', () => undefined, (self, statement) => {
    statementTexts.set(statement, locationOf(self));
    leadStatement(statement, 'node:sqlite', ['run', 'get', 'all', 'iterate'], (one) => one.sourceSQL, (one) => statementTexts.get(one));
  });
}

/// Above a driver: the statement begins where the application asks for it, not behind its pool.
function leadSequelize(exports) {
  const Sequelize = exports.Sequelize ?? exports;
  lead(prototypeOf(Sequelize), 'query', (self, [query, options]) => {
    begin('sequelize', textOf(query), self.config?.database ?? self.options?.storage, options?.replacements ?? options?.bind);
  });
  lead(prototypeOf(Sequelize), 'sync', () => void share());
}

function leadModel(Model) {
  const asked = ['create', 'bulkCreate', 'findAll', 'findOne', 'findByPk', 'findOrCreate', 'findAndCountAll', 'count', 'min', 'max', 'sum'];
  for (const name of [...asked, 'aggregate', 'update', 'upsert', 'destroy', 'increment', 'decrement', 'truncate'])
    lead(Model, name, () => void share());
  for (const name of ['save', 'update', 'destroy', 'reload', 'increment', 'decrement']) lead(prototypeOf(Model), name, () => void share());
}

const kFiles = [
  [/[\\/]pg[\\/]lib[\\/](native[\\/])?client\.js$/, leadPg],
  [/[\\/]pg-pool[\\/]index\.js$/, leadPgPool],
  [/[\\/]mysql2[\\/]lib[\\/](base[\\/])?connection\.js$/, leadMysqlConnection],
  [/[\\/]mysql2[\\/]lib[\\/](base[\\/])?pool\.js$/, leadMysqlPool],
  [/[\\/]better-sqlite3[\\/]lib[\\/]database\.js$/, leadBetterSqlite],
  [/[\\/]sqlite3[\\/]lib[\\/]sqlite3\.js$/, leadSqlite3],
  [/[\\/]sequelize[\\/]lib[\\/]sequelize\.js$/, leadSequelize],
  [/[\\/]sequelize[\\/]lib[\\/]model\.js$/, leadModel],
];

/// A module has run; is it a driver's?
function leadModule(module) {
  const { filename } = module;
  if (!isText(filename)) return;
  for (const [file, driver] of kFiles) if (file.test(filename)) driver(module.exports);
}

function leadBuiltin(name, exports) {
  if (/^(node:)?sqlite$/.test(name) && exports?.DatabaseSync) leadNodeSqlite(exports);
}

module.exports = { leadModule, leadBuiltin };
