#include "probes/python/context/sql_statement.h"

#include <string.h>

#include <algorithm>
#include <string>

#include "probes/python/context/sql_params.h"
#include "probes/python/events/emit.h"
#include "probes/python/interpreter/layout.h"

namespace watcher::python {
namespace {

constexpr std::string_view kDriverNames[] = {"sqlite3", "psycopg2", "psycopg", "MySQLdb"};

// psycopg2.sql and psycopg.sql: `_wrapped` or `_obj`.
Ref wrapped_by(PyObject* composable) {
  Ref wrapped(PyObject_GetAttrString(composable, "_wrapped"));
  if (!wrapped) PyErr_Clear();
  if (!wrapped) wrapped = Ref(PyObject_GetAttrString(composable, "_obj"));
  if (!wrapped) PyErr_Clear();
  return wrapped;
}

bool is_ascii(const PyObject* text) {
  constexpr std::uint32_t kCompactAscii = 3;
  return (field<std::uint32_t>(text, 32) >> 5 & 3) == kCompactAscii;
}

std::string_view text_of(PyObject* text, char* room, std::size_t size, std::uint64_t* total) {
  if (!is_ascii(text)) return {room, write_utf8(text, room, size, total)};
  *total = static_cast<std::uint64_t>(size_of(text));
  return {reinterpret_cast<const char*>(text) + compat.text_ascii, std::min<std::size_t>(*total, size)};
}

bool compose(PyObject* part, std::string* out, int depth) {
  constexpr int kMaxDepth = 8;
  char room[256];
  std::uint64_t total = 0;
  if (has_flag(part->type, kTextSubclass)) {
    *out += text_of(part, room, sizeof room, &total);
    return true;
  }
  const std::string_view kind = short_type_name(part->type);
  if (kind == "Literal") return *out += "?", true;
  if (kind == "Placeholder") return *out += "%s", true;
  if (depth >= kMaxDepth || (kind != "SQL" && kind != "Identifier" && kind != "Composed")) return false;
  Ref wrapped = wrapped_by(part);
  if (!wrapped) return false;
  if (kind == "SQL") {
    StatementText text;
    if (!read_statement(wrapped.get(), &text)) return false;
    *out += text.text;
    return true;
  }
  const bool list = has_flag(wrapped.get()->type, kListSubclass);
  if (!list && !has_flag(wrapped.get()->type, kTupleSubclass)) return false;
  for (ssize_t i = 0; i < size_of(wrapped.get()); ++i) {
    PyObject* inner = list ? list_items(wrapped.get())[i] : tuple_items(wrapped.get())[i];
    if (kind == "Identifier") *out += i == 0 ? "\"" : ".\"";
    if (!compose(inner, out, depth + 1)) return false;
    if (kind == "Identifier") *out += '"';
  }
  return true;
}

}  // namespace

void StatementText::put(std::string_view prefix, std::string_view name, std::string_view suffix) {
  std::size_t used = 0;
  total = 0;
  for (std::string_view part : {prefix, name, suffix}) {
    const std::size_t bytes = std::min(part.size(), sizeof room - used);
    memcpy(room + used, part.data(), bytes);
    used += bytes;
    total += part.size();
  }
  text = {room, used};
}

bool read_plain_statement(PyObject* statement, StatementText* out) {
  if (statement == nullptr || statement->type != &PyUnicode_Type || !is_ascii(statement)) return false;
  out->text = text_of(statement, out->room, sizeof out->room, &out->total);
  return true;
}

bool read_statement(PyObject* statement, StatementText* out) {
  if (statement == nullptr) return false;
  if (has_flag(statement->type, kTextSubclass)) {
    out->text = text_of(statement, out->room, sizeof out->room, &out->total);
    return true;
  }
  if (has_flag(statement->type, kBytesSubclass)) {
    out->total = static_cast<std::uint64_t>(size_of(statement));
    out->text = {bytes_data(statement), std::min<std::size_t>(out->total, kMaxStatementBytes)};
    return true;
  }
  std::string composed;
  if (!compose(statement, &composed, 0)) return false;
  out->put(composed, {}, {});
  return true;
}

DictionaryRef intern_database(std::string_view name) {
  return ring ? intern_sql_database(ring, name) : 0;
}

DictionaryRef intern_statement(SqlDriver driver, const StatementText& statement, DictionaryRef database,
                               PyObject* params) {
  if (!ring) return 0;
  char room[kMaxParamsBytes];
  const std::string_view params_text =
      params != nullptr ? std::string_view(room, describe_params(statement.text, params, room)) : std::string_view();
  return intern_sql(ring, {.driver = kDriverNames[static_cast<int>(driver)],
                           .statement = statement.text,
                           .database = database,
                           .params = params_text,
                           .cut = statement.cut()});
}

}  // namespace watcher::python
