// Drivers written in C: sqlite3, psycopg2 and what MySQLdb has below its Python classes. Their types are immutable, so
// the method descriptors are patched in place: subclasses, factories, bound and unbound calls all come by, and
// everything that can be asked about a method stays as it was.

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <array>
#include <iterator>
#include <utility>

#include "probes/python/context/frames.h"
#include "probes/python/context/sql.h"
#include "probes/python/events/emit.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/layout.h"

namespace watcher::python {
namespace {

enum class Action : std::uint8_t {
  kExecute,
  kScript,
  kCopyFrom,
  kCopyTo,
  kCall,
  kFetch,
  kCommit,
  kRollback,
  kExit,
  kClose
};

struct CType {
  SqlDriver driver;
  const char* module;
  const char* name;
  bool cursor;
  PyObject* type = nullptr;  // once patched
  ssize_t connection_offset = 0;
  void (*dealloc)(PyObject*) = nullptr;  // the original ones
  PyObject* (*next)(PyObject*) = nullptr;
};
constinit CType c_types[] = {{SqlDriver::kSqlite3, "_sqlite3", "Cursor", true},
                             {SqlDriver::kSqlite3, "_sqlite3", "Connection", false},
                             {SqlDriver::kPsycopg2, "psycopg2._psycopg", "cursor", true},
                             {SqlDriver::kPsycopg2, "psycopg2._psycopg", "connection", false},
                             {SqlDriver::kMySqlDb, "MySQLdb._mysql", "connection", false}};

struct MethodName {
  const char* name;
  Action action;
  const char* statement;  // what the parameters with the statement and its values are called
  const char* params;
};
constexpr MethodName kMethods[] = {
    {"execute", Action::kExecute, "query", "vars"},
    {"executemany", Action::kExecute, "query", "vars_list"},
    {"executescript", Action::kScript, "sql_script", ""},
    {"copy_expert", Action::kExecute, "sql", ""},
    {"copy_from", Action::kCopyFrom, "table", ""},
    {"copy_to", Action::kCopyTo, "table", ""},
    {"callproc", Action::kCall, "procname", "parameters"},
    {"fetchone", Action::kFetch, "", ""},
    {"fetchmany", Action::kFetch, "", ""},
    {"fetchall", Action::kFetch, "", ""},
    {"commit", Action::kCommit, "", ""},
    {"rollback", Action::kRollback, "", ""},
    {"__exit__", Action::kExit, "", ""},
    {"close", Action::kClose, "", ""},
};

// Any C method, whatever its calling convention: five words cover them all, and the caller's registers hold them.
using AnyMethod = PyObject* (*)(PyObject* self, void* a, void* b, void* c, void* d);

struct PatchedMethod {
  PyMethodDef definition;
  AnyMethod original;
  const MethodName* name;
  const CType* type;
};
constexpr std::size_t kMaxPatched = 64;
constinit PatchedMethod patched[kMaxPatched]{};
constinit std::size_t patched_count = 0;

/// The arguments of a call as that calling convention passes them. Borrowed; null: not given.
class Arguments {
 public:
  Arguments(int flags, void* a, void* b, void* c) : flags_(flags), a_(a), b_(b), c_(c) {}

  PyObject* get(ssize_t index, const char* name) const {
    if ((flags_ & kMethO) != 0) return index == 0 ? static_cast<PyObject*>(a_) : nullptr;
    if ((flags_ & kMethFastcall) != 0) return from_array(index, name);
    if ((flags_ & kMethVarargs) == 0) return nullptr;
    auto* tuple = static_cast<PyObject*>(a_);
    if (index < size_of(tuple)) return tuple_items(tuple)[index];
    auto* names = (flags_ & kMethKeywords) != 0 ? static_cast<PyObject*>(b_) : nullptr;
    return names != nullptr && name[0] != 0 ? PyDict_GetItemString(names, name) : nullptr;
  }

 private:
  PyObject* from_array(ssize_t index, const char* name) const {
    auto* const* items = static_cast<PyObject* const*>(a_);
    const auto count = reinterpret_cast<ssize_t>(b_);
    if (index < count) return items[index];
    auto* names = (flags_ & kMethKeywords) != 0 ? static_cast<PyObject*>(c_) : nullptr;
    for (ssize_t i = 0; names != nullptr && name[0] != 0 && i < size_of(names); ++i)
      if (PyUnicode_CompareWithASCIIString(tuple_items(names)[i], name) == 0) return items[count + i];
    return nullptr;
  }

  int flags_;
  void *a_, *b_, *c_;
};

/// psycopg2.extras.execute_values and execute_batch write the values into the SQL: their own argument is the statement.
PyObject* statement_of_helper(PyObject* statement) {
  if (!has_flag(statement->type, kBytesSubclass)) return statement;
  FramePosition at;
  if (!innermost_frame(thread_state(), &at)) return statement;
  PyObject* name = field<PyObject*>(at.code, compat.code_name);
  if (PyUnicode_CompareWithASCIIString(name, "execute_values") != 0 &&
      PyUnicode_CompareWithASCIIString(name, "execute_batch") != 0)
    return statement;
  constexpr int kSecondLocal = 8;
  auto* sql = field<PyObject*>(current_frame(), compat.frame_values + kSecondLocal);
  return sql != nullptr && (has_flag(sql->type, kBytesSubclass) || has_flag(sql->type, kTextSubclass)) ? sql
                                                                                                       : statement;
}

void begin_named(const SqlCall& call, std::string_view prefix, PyObject* name, std::string_view suffix) {
  StatementText text, whole;
  if (name == nullptr || !read_statement(name, &text)) return;
  whole.put(prefix, text.text, suffix);
  sql_command(call, whole);
}

/// Returns the statement that a connection's execute() begins, else 0.
DictionaryRef before(const PatchedMethod& method, const SqlCall& call, PyObject* self, const Arguments& arguments) {
  const MethodName& names = *method.name;
  switch (names.action) {
    case Action::kExecute:
    case Action::kScript: {
      PyObject* statement = arguments.get(0, names.statement);
      if (statement == nullptr) break;
      if (call.driver == SqlDriver::kPsycopg2) statement = statement_of_helper(statement);
      return sql_execute(call, statement, names.params[0] != 0 ? arguments.get(1, names.params) : nullptr);
    }
    case Action::kCopyFrom:
      begin_named(call, "COPY ", arguments.get(1, names.statement), " FROM STDIN");
      break;
    case Action::kCopyTo:
      begin_named(call, "COPY ", arguments.get(1, names.statement), " TO STDOUT");
      break;
    case Action::kCall:
      begin_named(call, "CALL ", arguments.get(0, names.statement), "");
      break;
    case Action::kFetch:
      sql_fetch(self);
      break;
    case Action::kCommit:
      sql_command(call, "COMMIT");
      break;
    case Action::kRollback:
      sql_command(call, "ROLLBACK");
      break;
    case Action::kExit:
      sql_command(call, arguments.get(0, "") == &_Py_NoneStruct ? "COMMIT" : "ROLLBACK");
      break;
    case Action::kClose:
      break;
  }
  return 0;
}

// executescript() commits first; up to 3.9 by calling the method.
__attribute__((tls_model("initial-exec"))) constinit thread_local const void* script_connection = nullptr;

PyObject* call_patched(const PatchedMethod& method, PyObject* self, void* a, void* b, void* c, void* d) {
  const CType& type = *method.type;
  const SqlCall call{
      .driver = type.driver,
      .cursor = type.cursor ? self : nullptr,
      .connection = type.cursor ? field<PyObject*>(self, static_cast<int>(type.connection_offset)) : self};
  const Action action = method.name->action;
  const void* outer_script = script_connection;
  DictionaryRef begun = 0;
  if (action != Action::kCommit || call.connection != outer_script)
    begun = before(method, call, self, Arguments(method.definition.flags, a, b, c));
  if (action == Action::kScript) script_connection = call.connection;
  PyObject* result = method.original(self, a, b, c, d);
  script_connection = outer_script;
  if (action == Action::kClose && !type.cursor && result != nullptr) sql_closed(self);
  if (begun != 0 && !type.cursor && result != nullptr) sql_made_cursor(result, self, begun);
  return result;
}

template <std::size_t index>
PyObject* trampoline(PyObject* self, void* a, void* b, void* c, void* d) {
  return call_patched(patched[index], self, a, b, c, d);
}
template <std::size_t... indices>
constexpr auto make_trampolines(std::index_sequence<indices...>) {
  return std::array<AnyMethod, sizeof...(indices)>{trampoline<indices>...};
}
constexpr auto kTrampolines = make_trampolines(std::make_index_sequence<kMaxPatched>());

// The address will mean another cursor. For the instances of every subclass: their dealloc calls this one.
template <std::size_t which>
void dealloc(PyObject* self) {
  sql_forget(self);
  if (!c_types[which].cursor && !finalizing()) sql_closed(self);
  c_types[which].dealloc(self);
}
template <std::size_t which>
PyObject* next(PyObject* self) {
  sql_fetch(self);
  return c_types[which].next(self);
}
constexpr void (*kDeallocs[])(PyObject*) = {dealloc<0>, dealloc<1>, dealloc<2>, dealloc<3>, dealloc<4>};
constexpr PyObject* (*kNexts[])(PyObject*) = {next<0>, next<1>, next<2>, next<3>, next<4>};
static_assert(std::size(kDeallocs) == std::size(c_types) && std::size(kNexts) == std::size(c_types));

/// A type's own descriptor of that kind; null: it has none.
Ref own_descriptor(PyObject* type, const char* name, const PyTypeObject& kind) {
  Ref descriptor(PyObject_GetAttrString(type, name));
  constexpr int kDescriptorType = 16;
  if (!descriptor) PyErr_Clear();
  if (!descriptor || descriptor.get()->type != &kind || field<PyObject*>(descriptor.get(), kDescriptorType) != type)
    return Ref();
  return descriptor;
}

void patch_method(const CType& type, const MethodName& name) {
  constexpr int kConventions = kMethVarargs | kMethKeywords | kMethNoArgs | kMethO | kMethFastcall;
  Ref descriptor = own_descriptor(type.type, name.name, PyMethodDescr_Type);
  if (!descriptor || patched_count == kMaxPatched) return;
  auto& definition = field_ref<PyMethodDef*>(descriptor.get(), kMethodDefinition);
  if ((definition->flags & ~kConventions) != 0) return;
  PatchedMethod& method = patched[patched_count];
  method = {.definition = *definition,
            .original = reinterpret_cast<AnyMethod>(definition->function),
            .name = &name,
            .type = &type};
  method.definition.function = reinterpret_cast<void*>(kTrampolines[patched_count++]);
  definition = &method.definition;  // same convention: the descriptor's own vectorcall stays
}

/// Subclasses have copied the slots.
template <class Function>
void replace_slot(PyObject* type, int slot, Function from, Function to) {
  if (field<Function>(type, slot) == from) field_ref<Function>(type, slot) = to;
  Ref subclasses(PyObject_CallMethod(type, "__subclasses__", nullptr));
  if (!subclasses) PyErr_Clear();
  for (ssize_t i = 0; subclasses && i < size_of(subclasses.get()); ++i)
    replace_slot(list_items(subclasses.get())[i], slot, from, to);
}

void patch_iteration(CType& type, std::size_t which) {
  type.next = field<PyObject* (*)(PyObject*)>(type.type, kTypeNext);
  if (type.next == nullptr) return;
  if (Ref wrapper = own_descriptor(type.type, "__next__", PyWrapperDescr_Type))
    if (auto& wrapped = field_ref<PyObject* (*)(PyObject*)>(wrapper.get(), kWrapperSlot); wrapped == type.next)
      wrapped = kNexts[which];
  replace_slot(type.type, kTypeNext, type.next, kNexts[which]);
}

ssize_t offset_of_member(PyObject* type, const char* name) {
  struct MemberDefinition {
    const char* name;
    int type;
    ssize_t offset;
  };
  Ref member = own_descriptor(type, name, PyMemberDescr_Type);
  return member ? field<const MemberDefinition*>(member.get(), kMemberDefinition)->offset : 0;
}

/// Up to 3.10 sqlite3's connections execute by calling the methods of a new cursor.
bool goes_by_cursor(const CType& type, const MethodName& name) {
  return compat.minor <= 10 && type.driver == SqlDriver::kSqlite3 && !type.cursor &&
         (name.action == Action::kExecute || name.action == Action::kScript);
}

void patch_type(CType& type, std::size_t which) {
  if (type.cursor) {
    type.connection_offset = offset_of_member(type.type, "connection");
    if (type.connection_offset == 0) return;
  }
  for (const MethodName& name : kMethods)
    if (!goes_by_cursor(type, name) &&
        (!type.cursor || (name.action != Action::kExit && name.action != Action::kClose)))
      patch_method(type, name);
  PyType_Modified(type.type);
  if (type.cursor) patch_iteration(type, which);
  // MySQLdb's connections are instances of a Python class, followed by weak references
  if (type.driver == SqlDriver::kMySqlDb) return;
  type.dealloc = field<void (*)(PyObject*)>(type.type, kTypeDealloc);
  replace_slot(type.type, kTypeDealloc, type.dealloc, kDeallocs[which]);
}

using DatabaseFilename = const char* (*)(void* database, const char* schema);

// From the library that the module uses: shared, or linked into it.
DatabaseFilename find_database_filename() {
  void* symbol = dlsym(RTLD_DEFAULT, "sqlite3_db_filename");
  Dl_info info{};
  if (symbol == nullptr && c_types[0].dealloc != nullptr &&
      dladdr(reinterpret_cast<void*>(c_types[0].dealloc), &info) != 0) {
    void* module = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (module != nullptr) symbol = dlsym(module, "sqlite3_db_filename");  // looks in what it depends on as well
    if (module != nullptr) dlclose(module);
  }
  return reinterpret_cast<DatabaseFilename>(symbol);
}

std::string_view sqlite_database(PyObject* connection) {
  constexpr int kHandle = 16;  // pysqlite_Connection.db, null when closed
  static const DatabaseFilename filename = find_database_filename();
  void* handle = field(connection, kHandle);
  if (filename == nullptr || handle == nullptr) return {};
  const char* path = filename(handle, "main");
  return path == nullptr || path[0] == 0 ? ":memory:" : path;
}

DictionaryRef text_attribute(PyObject* object, const char* first, const char* second) {
  Ref inner(PyObject_GetAttrString(object, first));
  Ref name(inner ? PyObject_GetAttrString(inner.get(), second) : nullptr);
  StatementText text;
  PyErr_Clear();
  return name && read_statement(name.get(), &text) ? intern_database(text.text) : 0;
}

}  // namespace

bool patch_driver_types() {
  bool found = false;
  for (std::size_t i = 0; i < std::size(c_types); ++i) {
    CType& type = c_types[i];
    if (type.type != nullptr) continue;
    PyObject* module = PyDict_GetItemString(loaded_modules(), type.module);
    type.type = module != nullptr ? PyObject_GetAttrString(module, type.name) : nullptr;  // process-lifetime
    PyErr_Clear();
    if (type.type == nullptr) continue;
    patch_type(type, i);
    found = true;
  }
  return found;
}

DictionaryRef ask_for_database(SqlDriver driver, PyObject* connection) {
  switch (driver) {
    case SqlDriver::kSqlite3:
      return intern_database(sqlite_database(connection));
    case SqlDriver::kPsycopg2:
      return text_attribute(connection, "info", "dbname");
    case SqlDriver::kPsycopg:
      return text_attribute(connection, "pgconn", "db");
    case SqlDriver::kMySqlDb:
      break;
  }
  return 0;
}

}  // namespace watcher::python
