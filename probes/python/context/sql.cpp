#include "probes/python/context/sql.h"

#include <string.h>

#include "probes/python/context/flows.h"
#include "probes/python/context/sql_known.h"
#include "probes/python/events/emit.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/layout.h"

namespace watcher::python {
namespace {

constinit bool started = false;
constinit bool recording_params = false;
constinit bool types_pending = false;  // a driver's C module is being imported: no event tells that it is there

bool option_is(const char* name, const char* wanted) {
  const char* value = runtime->option(name);
  return value != nullptr && strcmp(value, wanted) == 0;
}

bool asked_for() {
  static const bool asked = option_is("track_sql", "true");
  return asked;
}

std::string_view view_of(PyObject* text) {
  ssize_t size = 0;
  const char* bytes = text != nullptr && text->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(text, &size) : nullptr;
  if (bytes == nullptr) PyErr_Clear();
  return bytes != nullptr ? std::string_view(bytes, static_cast<std::size_t>(size)) : std::string_view();
}

DictionaryRef database_of(const SqlCall& call) {
  if (call.connection == nullptr) return 0;
  if (const Known* known = known_objects.find(call.connection)) return known->ref;
  KeepException keep;
  const DictionaryRef name = ask_for_database(call.driver, call.connection);
  PyErr_Clear();
  known_objects.put(call.connection, {name, nullptr});
  if (call.driver == SqlDriver::kPsycopg || call.driver == SqlDriver::kMySqlDb) sql_follow(call.connection);
  return name;
}

void make_current(const Known& statement) {
  Flow* flow = running_flow(true);
  if (flow == nullptr) return;
  flow->sql.store(statement.ref, std::memory_order_relaxed);
  flow->connection = statement.connection;
}

void remember(const SqlCall& call, const Known& statement) {
  if (call.cursor == nullptr) return;
  const bool fresh = known_objects.put(call.cursor, statement);
  if (fresh && (call.driver == SqlDriver::kPsycopg || call.driver == SqlDriver::kMySqlDb)) sql_follow(call.cursor);
}

DictionaryRef begin(const SqlCall& call, const StatementText& text, PyObject* params) {
  const DictionaryRef database = database_of(call);
  const Known statement{intern_statement(call.driver, text, database, recording_params ? params : nullptr),
                        call.connection};
  make_current(statement);
  remember(call, statement);
  return statement.ref;
}

PyObject* followed_ended(PyObject* address, PyObject* reference) {
  int overflow = 0;
  sql_forget(reinterpret_cast<const PyObject*>(PyLong_AsLongLongAndOverflow(address, &overflow)));
  Py_DecRef(reference);  // the reference that sql_follow leaves
  return Ref::borrow(&_Py_NoneStruct).release();
}
PyMethodDef followed_ended_definition{"_sql_object_ended", reinterpret_cast<void*>(followed_ended), kMethO, nullptr};

}  // namespace

void sql_start() {
  if (started || !ensure_session()) return;
  started = true;
  recording_params = option_is("sql_params", "record");
  track_statements();
  KeepException keep;
  if (PyDict_GetItemString(loaded_modules(), "greenlet") != nullptr) expect_greenlets();
  patch_driver_types();
  instrument_loaded_drivers();
  PyErr_Clear();
}

void sql_sees_import(PyObject* name) {
  if (!asked_for() && !started) return;
  const std::string_view module = view_of(name);
  if (module == "greenlet") expect_greenlets();
  if (!started && (module == "psycopg2" || module == "psycopg" || module == "MySQLdb")) sql_start();
  if (types_pending) types_pending = !patch_driver_types();
  if (module == "psycopg2._psycopg" || module == "MySQLdb._mysql") types_pending = true;
}

bool sql_sees_exec(PyObject* code) {
  if (!started) return false;
  if (types_pending) types_pending = !patch_driver_types();
  return run_instrumented_driver(code);
}

void sql_sees_connect() {
  if (asked_for()) sql_start();
  if (started) patch_driver_types();
}

DictionaryRef sql_execute(const SqlCall& call, PyObject* statement, PyObject* params) {
  StatementText text;
  if (!recording_params && read_plain_statement(statement, &text)) return begin(call, text, nullptr);
  KeepException keep;
  const DictionaryRef begun = read_statement(statement, &text) ? begin(call, text, params) : 0;
  PyErr_Clear();
  return begun;
}

void sql_command(const SqlCall& call, const StatementText& text) {
  KeepException keep;
  begin(call, text, nullptr);
  PyErr_Clear();
}

void sql_command(const SqlCall& call, std::string_view command) {
  StatementText text;
  text.put(command, {}, {});
  sql_command(call, text);
}

void sql_fetch(PyObject* cursor) {
  if (const Known* known = known_objects.find(cursor)) make_current(*known);
}

void sql_made_cursor(PyObject* cursor, PyObject* connection, DictionaryRef statement) {
  if (statement != 0) known_objects.put(cursor, {statement, connection});
}

void sql_closed(PyObject* connection) {
  Flow* flow = running_flow(false);
  if (flow != nullptr && flow->connection == connection) flow->sql.store(0, std::memory_order_relaxed);
}

void sql_database(PyObject* connection, std::string_view name) {
  known_objects.put(connection, {intern_database(name), nullptr});
  sql_follow(connection);
}

void sql_forget(const PyObject* object) {
  known_objects.forget(object);
}

void sql_follow(PyObject* object) {
  KeepException keep;
  Ref address(PyLong_FromLongLong(reinterpret_cast<long long>(object)));
  Ref callback(address ? PyCFunction_NewEx(&followed_ended_definition, address.get(), nullptr) : nullptr);
  // kept by nobody but this count: its callback drops it
  if (!callback || PyWeakref_NewRef(object, callback.get()) == nullptr) sql_forget(object);
  PyErr_Clear();
}

}  // namespace watcher::python
