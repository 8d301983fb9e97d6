// Drivers written in Python: psycopg 3 and MySQLdb. A call of ours is put in front of the bodies of their methods, by
// the same way as hooks for names (see load_hooks.cpp): what inspect, pickle, tracebacks and subclasses see is still
// the driver's own function, and a coroutine's statement begins in the task that runs it. A driver that is loaded
// already gets the new code objects in its functions.

#include <string.h>

#include <string>
#include <vector>

#include "probes/python/context/sql.h"
#include "probes/python/events/emit.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/layout.h"
#include "probes/python/loading/code_swap.h"
#include "probes/python/loading/compile.h"
#include "probes/python/loading/source.h"
#include "probes/python/transform/ast_nodes.h"
#include "probes/python/transform/transform.h"

namespace watcher::python {
namespace {

enum class Action : std::uint8_t { kExecute, kCall, kFetch, kEach, kCommit, kRollback, kClose, kConnect };

struct SourceMethod {
  const char* class_part;
  const char* function;
  Action action;  // kEach: kFetch, and again whenever the generator goes on
};
constexpr SourceMethod kMethods[] = {
    {"Cursor", "execute", Action::kExecute},         {"Cursor", "executemany", Action::kExecute},
    {"Cursor", "stream", Action::kExecute},          {"Cursor", "copy", Action::kExecute},
    {"Cursor", "callproc", Action::kCall},           {"Cursor", "fetchone", Action::kFetch},
    {"Cursor", "fetchmany", Action::kFetch},         {"Cursor", "fetchall", Action::kFetch},
    {"Cursor", "__iter__", Action::kEach},           {"Cursor", "__aiter__", Action::kEach},
    {"Cursor", "__next__", Action::kFetch},          {"Cursor", "__anext__", Action::kFetch},
    {"Connection", "commit", Action::kCommit},       {"Connection", "rollback", Action::kRollback},
    {"Connection", "close", Action::kClose},         {"Connection", "__init__", Action::kConnect},
    {"Transaction", "_commit_gen", Action::kCommit}, {"Transaction", "_rollback_gen", Action::kRollback},
};

struct Package {
  std::string_view directory;
  SqlDriver driver;
  const char* cursor_connection;  // attribute of a cursor
};
constexpr Package kPackages[] = {{"psycopg", SqlDriver::kPsycopg, "_conn"},
                                 {"MySQLdb", SqlDriver::kMySqlDb, "connection"}};

const Package* package_of(std::string_view path) {
  const std::size_t file = path.rfind('/');
  if (file == path.npos || file == 0) return nullptr;
  const std::size_t directory = path.rfind('/', file - 1);
  const std::string_view name = path.substr(directory + 1, file - directory - 1);
  for (const Package& package : kPackages)
    if (package.directory == name) return &package;
  return nullptr;
}

// ---- what the hooks do

struct Hook {
  const Package* package;
  const SourceMethod* method;
};

/// MySQLdb.Connection(host, user, password, database, …): keywords as well, and `db` for short.
void database_of_new_connection(PyObject* connection, PyObject* positional, PyObject* keywords) {
  constexpr ssize_t kDatabase = 3;
  if (keywords == nullptr || keywords->type != &PyDict_Type) return;
  PyObject* name = PyDict_GetItemString(keywords, "database");
  if (name == nullptr) name = PyDict_GetItemString(keywords, "db");
  if (name == nullptr && positional->type == &PyTuple_Type && size_of(positional) > kDatabase)
    name = tuple_items(positional)[kDatabase];
  StatementText text;
  if (name != nullptr && read_statement(name, &text)) sql_database(connection, text.text);
}

/// COMMIT or ROLLBACK; of psycopg's inner transactions what becomes of their savepoint.
void end_transaction(const SqlCall& call, PyObject* self, bool commit) {
  Ref outer(PyObject_GetAttrString(self, "_outer_transaction"));
  Ref savepoint(PyObject_GetAttrString(self, "_savepoint_name"));
  PyErr_Clear();
  StatementText name, text;
  const Value is_outer = encode(outer.get(), scratch_before);
  if (is_outer.kind != ValueKind::kBool || is_outer.word != 0 || !savepoint || !read_statement(savepoint.get(), &name))
    return sql_command(call, commit ? "COMMIT" : "ROLLBACK");
  text.put(commit ? "RELEASE " : "ROLLBACK TO ", name.text, "");
  sql_command(call, text);
}

void act(const Hook& hook, PyObject* self, PyObject* first, PyObject* second) {
  SqlCall call{.driver = hook.package->driver, .cursor = nullptr, .connection = self};
  const std::string_view class_part = hook.method->class_part;
  Ref connection;
  if (class_part != "Connection") {
    const bool cursor = class_part == "Cursor";
    connection = Ref(PyObject_GetAttrString(self, cursor ? hook.package->cursor_connection : "_conn"));
    if (cursor) call.cursor = self;
    call.connection = connection && connection.get() != &_Py_NoneStruct ? connection.get() : nullptr;
    PyErr_Clear();
  }
  StatementText name, text;
  switch (hook.method->action) {
    case Action::kExecute:
      // MySQLdb's executemany executes its parts as bytearrays with the values written in
      sql_execute(call, first, second);
      return;
    case Action::kCall:
      if (first == nullptr || !read_statement(first, &name)) return;
      text.put("CALL ", name.text, "");
      return sql_command(call, text);
    case Action::kFetch:
    case Action::kEach:
      return sql_fetch(self);
    case Action::kCommit:
    case Action::kRollback:
      return end_transaction(call, self, hook.method->action == Action::kCommit);
    case Action::kClose:
      return sql_closed(self);
    case Action::kConnect:
      return database_of_new_connection(self, first, second);
  }
}

std::vector<Hook>& hooks() {
  static auto* all = new std::vector<Hook>;  // process-lifetime
  return *all;
}

PyObject* call_hook(PyObject* number, PyObject* const* args, ssize_t count) {
  KeepException keep;
  const Hook hook = hooks()[static_cast<std::size_t>(PyLong_AsLong(number))];
  if (count > 0) act(hook, args[0], count > 1 ? args[1] : nullptr, count > 2 ? args[2] : nullptr);
  PyErr_Clear();
  return Ref::borrow(&_Py_NoneStruct).release();
}
PyMethodDef hook_definition{"_watcher_sql", reinterpret_cast<void*>(call_hook), kMethFastcall, nullptr};

// ---- putting them into a module's syntax tree

/// Names of the parameters: the first three, or self, *args and **kwargs.
std::vector<std::string> parameters_of(PyObject* function) {
  std::vector<std::string> names;
  Ref arguments = get(function, "args");
  if (!arguments) return names;
  Ref list = get(arguments.get(), "args");
  for (ssize_t i = 0; i < length(list) && i < 3; ++i) names.emplace_back(get_text(item(list, i), "arg"));
  for (const char* rest : {"vararg", "kwarg"})
    if (Ref parameter = get(arguments.get(), rest); parameter && names.size() < 3)
      names.emplace_back(get_text(parameter.get(), "arg"));
  return names;
}

Ref hook_statement(PyObject* at, const std::vector<std::string>& names, std::size_t hook) {
  const std::string text = std::string(kMarker) + std::to_string(hook);
  Ref marker_text(PyUnicode_FromStringAndSize(text.data(), static_cast<ssize_t>(text.size())));
  Ref marker = marker_text ? make_constant(at, marker_text.get()) : Ref();
  Ref self = make_name(at, names[0]);
  Ref call = marker && self ? make_call(at, marker.get(), self.get()) : Ref();
  Ref arguments = call ? get(call.get(), "args") : Ref();
  for (std::size_t i = 1; arguments && i < names.size(); ++i) {
    Ref name = make_name(at, names[i]);
    if (!name || PyList_Append(arguments.get(), name.get()) != 0) return Ref();
  }
  return call ? make_statement(at, call.get()) : Ref();
}

bool is_expression(PyObject* statement, std::string_view kind) {
  if (kind_of(statement) != Node::kExpr) return false;
  Ref value = get(statement, "value");
  return value && short_type_name(value.get()->type) == kind;
}

bool hook_yields(PyObject* node, const std::vector<std::string>& self, std::size_t hook) {
  for (const char* part : {"body", "orelse", "finalbody"}) {
    Ref body = get(node, part);
    for (ssize_t i = 0; i < length(body); ++i) {
      PyObject* statement = item(body, i);
      const Node kind = kind_of(statement);
      if (kind == Node::kFunctionDef || kind == Node::kAsyncFunctionDef || kind == Node::kClassDef) continue;
      if (!hook_yields(statement, self, hook)) return false;
      if (!is_expression(statement, "Yield")) continue;
      Ref again = hook_statement(statement, self, hook);
      if (!again || PyList_Insert(body.get(), ++i, again.get()) != 0) return false;
    }
  }
  return true;
}

bool hook_method(PyObject* function, const Package& package, const SourceMethod& method) {
  const std::vector<std::string> names = parameters_of(function);
  Ref body = get(function, "body");
  const ssize_t first = length(body) > 1 && is_expression(item(body, 0), "Constant") ? 1 : 0;
  if (names.empty() || length(body) <= first) return true;
  const std::size_t number = hooks().size();
  hooks().push_back({&package, &method});
  const bool each = method.action == Action::kEach || strcmp(method.function, "stream") == 0;
  if (each) {
    static constexpr SourceMethod kAgain{"Cursor", "", Action::kFetch};
    hooks().push_back({&package, &kAgain});
    if (!hook_yields(function, {names[0]}, number + 1)) return false;
  }
  Ref statement = hook_statement(item(body, first), names, number);
  return statement && PyList_Insert(body.get(), first, statement.get()) == 0;
}

bool hook_class(PyObject* node, const Package& package) {
  const std::string name(get_text(node, "name"));
  Ref body = get(node, "body");
  for (ssize_t i = 0; i < length(body); ++i) {
    PyObject* function = item(body, i);
    const Node kind = kind_of(function);
    if (kind != Node::kFunctionDef && kind != Node::kAsyncFunctionDef) continue;
    for (const SourceMethod& method : kMethods)
      if (name.find(method.class_part) != name.npos && get_text(function, "name") == method.function &&
          !hook_method(function, package, method))
        return false;
  }
  return true;
}

// ---- compiling it

/// The code with the markers in it and in inner code replaced by hooks. Empty with an exception set.
Ref bind(PyObject* code) {
  PyObject* constants = field<PyObject*>(code, compat.code_consts);
  Ref bound(PyTuple_New(size_of(constants)));
  bool changed = false;
  for (ssize_t i = 0; bound && i < size_of(constants); ++i) {
    PyObject* constant = tuple_items(constants)[i];
    Ref replacement = Ref::borrow(constant);
    ssize_t size = 0;
    const char* text = constant->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(constant, &size) : nullptr;
    if (text != nullptr && std::string_view(text, static_cast<std::size_t>(size)).starts_with(kMarker)) {
      Ref number(PyLong_FromLong(atol(text + kMarker.size())));
      replacement = number ? Ref(PyCFunction_NewEx(&hook_definition, number.get(), nullptr)) : Ref();
    } else if (constant->type == &PyCode_Type) {
      replacement = bind(constant);
    }
    PyErr_Clear();
    if (!replacement) return Ref();
    changed = changed || replacement.get() != constant;
    PyTuple_SetItem(bound.get(), i, replacement.release());
  }
  if (!bound || !changed) return Ref::borrow(code);
  return with_constants(code, bound.get());
}

/// `compiled` receives the module's code before the hooks are in it, for comparison.
Ref instrument_driver(const Package& package, PyObject* filename, const std::string& path, long flags, Ref* compiled) {
  Ref source = read_source(path);
  if (!source || !ast_start()) return Ref();
  NoWarnings quiet;
  Ref tree = compile_source(source.get(), filename, "exec", kOnlyAst);
  Ref body = tree ? get(tree.get(), "body") : Ref();
  const std::size_t hooks_before = hooks().size();
  for (ssize_t i = 0; i < length(body); ++i)
    if (kind_of(item(body, i)) == Node::kClassDef && !hook_class(item(body, i), package)) return Ref();
  if (hooks().size() == hooks_before) return Ref();
  *compiled = compile_source(tree.get(), filename, "exec", flags);
  return *compiled ? bind(compiled->get()) : Ref();
}

void log_failure(const std::string& path) {
  PyErr_Clear();
  runtime->log(WATCHER_WARNING, "%s: its SQL statements are not seen, since it could not be instrumented",
               path.c_str());
}

std::string path_of(PyObject* filename) {
  ssize_t size = 0;
  const char* text = filename->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(filename, &size) : nullptr;
  if (text == nullptr) PyErr_Clear();
  return text != nullptr ? std::string(text, static_cast<std::size_t>(size)) : std::string();
}

// ---- loaded already

/// The code object of a function among those in a module's instrumented code, by name and first line.
PyObject* counterpart(PyObject* function_code, PyObject* code) {
  PyObject* constants = field<PyObject*>(code, compat.code_consts);
  for (ssize_t i = 0; i < size_of(constants); ++i) {
    PyObject* inner = tuple_items(constants)[i];
    if (inner->type != &PyCode_Type) continue;
    if (field<int>(inner, compat.code_first_line) == field<int>(function_code, compat.code_first_line) &&
        PyUnicode_Compare(field<PyObject*>(inner, compat.code_name),
                          field<PyObject*>(function_code, compat.code_name)) == 0)
      return inner;
    if (PyObject* found = counterpart(function_code, inner)) return found;
  }
  return nullptr;
}

void renew_function(PyObject* function, PyObject* compiled, PyObject* instrumented) {
  Ref inner(PyObject_GetAttrString(function, "__wrapped__"));  // contextmanager's
  PyErr_Clear();
  if (inner) function = inner.get();
  if (function->type != &PyFunction_Type) return;
  Ref code(PyObject_GetAttrString(function, "__code__"));
  PyObject* plain = code ? counterpart(code.get(), compiled) : nullptr;
  PyObject* hooked = code ? counterpart(code.get(), instrumented) : nullptr;
  if (plain != nullptr && hooked != nullptr && made_from_same_source(code.get(), plain))
    PyObject_SetAttrString(function, "__code__", hooked);
  PyErr_Clear();
}

void renew_class(PyObject* type, PyObject* compiled, PyObject* instrumented) {
  Ref dictionary(PyObject_GetAttrString(type, "__dict__"));
  Ref values(dictionary ? PyObject_CallMethod(dictionary.get(), "values", nullptr) : nullptr);
  Ref list(values ? PySequence_List(values.get()) : nullptr);
  PyErr_Clear();
  for (ssize_t i = 0; list && i < size_of(list.get()); ++i)
    if (list_items(list.get())[i]->type == &PyFunction_Type)
      renew_function(list_items(list.get())[i], compiled, instrumented);
}

void renew_module(PyObject* module) {
  Ref filename(PyObject_GetAttrString(module, "__file__"));
  PyErr_Clear();
  const std::string path = filename ? path_of(filename.get()) : std::string();
  const Package* package = package_of(path);
  if (package == nullptr || !path.ends_with(".py")) return;
  Ref compiled;
  Ref instrumented = instrument_driver(*package, filename.get(), path, 0, &compiled);
  if (!instrumented) return compiled || PyErr_Occurred() != nullptr ? log_failure(path) : void();
  Ref values(PyObject_CallMethod(PyModule_GetDict(module), "values", nullptr));
  Ref list(values ? PySequence_List(values.get()) : nullptr);
  PyErr_Clear();
  for (ssize_t i = 0; list && i < size_of(list.get()); ++i)
    if (has_flag(list_items(list.get())[i]->type, kTypeSubclass))
      renew_class(list_items(list.get())[i], compiled.get(), instrumented.get());
}

}  // namespace

bool run_instrumented_driver(PyObject* code) {
  if (code->type != &PyCode_Type ||
      PyUnicode_CompareWithASCIIString(field<PyObject*>(code, compat.code_name), "<module>") != 0)
    return false;
  PyObject* filename = field<PyObject*>(code, compat.code_file);
  KeepException keep;
  const std::string path = path_of(filename);
  const Package* package = package_of(path);
  if (package == nullptr) return false;
  Ref compiled;
  Ref instrumented = instrument_driver(*package, filename, path, compile_flags(code), &compiled);
  const bool swapped =
      instrumented && made_from_same_source(code, compiled.get()) && run_instead(code, instrumented.get());
  if (!swapped && (compiled || PyErr_Occurred() != nullptr)) log_failure(path);
  PyErr_Clear();
  return swapped;
}

void instrument_loaded_drivers() {
  Ref values(PyObject_CallMethod(loaded_modules(), "values", nullptr));
  Ref list(values ? PySequence_List(values.get()) : nullptr);
  PyErr_Clear();
  for (ssize_t i = 0; list && i < size_of(list.get()); ++i)
    if (list_items(list.get())[i]->type == &PyModule_Type) renew_module(list_items(list.get())[i]);
}

}  // namespace watcher::python
