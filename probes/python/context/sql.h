// The SQL statement under which a variable changes: what a flow (see flows.h) executes, or executed last. A statement
// holds from the call of execute() to the next one; fetching from a cursor makes the cursor's statement the current one
// again; commit and rollback are statements too; closing its connection ends it.
//
// Nothing is patched before track_sql asks for it. sql_methods.cpp reports for the drivers written in C, sql_source.cpp
// for those in Python.
//
// Threads: the GIL is held. No function raises or changes a pending exception.
#pragma once

#include "probes/python/context/sql_statement.h"

namespace watcher::python {

/// Patches the drivers that are loaded, and from now on those that will be. Any number of times.
void sql_start();

/// What the audit events tell: a module is looked for, code is about to run, sqlite3 is about to connect.
void sql_sees_import(PyObject* name);
/// True when other code was put in place of this one.
bool sql_sees_exec(PyObject* code);
void sql_sees_connect();

struct SqlCall {
  SqlDriver driver;
  PyObject* cursor;      // null: on the connection itself
  PyObject* connection;  // null: unknown
};

/// A statement begins. `statement` and `params` may be null. Returns its SqlBlob, or 0.
DictionaryRef sql_execute(const SqlCall& call, PyObject* statement, PyObject* params);
/// The same for a text of ours: COMMIT, COPY ….
void sql_command(const SqlCall& call, const StatementText& text);
void sql_command(const SqlCall& call, std::string_view text);
/// A result is read: the statement of the cursor is the current one again.
void sql_fetch(PyObject* cursor);
/// A connection's execute() has made a cursor for that statement.
void sql_made_cursor(PyObject* cursor, PyObject* connection, DictionaryRef statement);
void sql_closed(PyObject* connection);

/// A connection's database is known from elsewhere than the connection.
void sql_database(PyObject* connection, std::string_view name);
/// The object's address may come to mean another one. For types whose dealloc is not followed, `follow` makes a weak
/// reference that calls this.
void sql_forget(const PyObject* object);
void sql_follow(PyObject* object);

/// sql_methods.cpp: patches the types that are loaded. False: none that was not patched before.
bool patch_driver_types();
/// The database that an open connection of a C driver is connected to. psycopg 3 as well.
DictionaryRef ask_for_database(SqlDriver driver, PyObject* connection);

/// sql_source.cpp: the instrumented code of a Python driver's module; false: not a driver's, or not to be had.
bool run_instrumented_driver(PyObject* code);
/// Gives the functions of loaded drivers their instrumented code.
void instrument_loaded_drivers();

}  // namespace watcher::python
