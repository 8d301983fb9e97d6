// What of a SQL statement is recorded: its text, its leading keyword, the driver, the database, on request the
// parameters.
//
// Threads: the GIL is held.
#pragma once

#include <cstdint>
#include <string_view>

#include "probes/python/interpreter/python_api.h"
#include "probes/sql_statements.h"
#include "runtime/queue/event.h"

namespace watcher::python {

enum class SqlDriver : std::uint8_t { kSqlite3, kPsycopg2, kPsycopg, kMySqlDb };

/// A text on its way to the dictionary, cut at kMaxStatementBytes.
struct StatementText {
  char room[kMaxStatementBytes];  // for what has no bytes of its own
  std::string_view text;
  std::uint64_t total = 0;

  bool cut() const { return total > text.size(); }
  void put(std::string_view prefix, std::string_view name, std::string_view suffix);
};

/// Text of a str, bytes, or one of the psycopgs' composed statements (their literals as `?`). False: it is something
/// else.
bool read_statement(PyObject* statement, StatementText* out);
/// The same of a str of ASCII alone, which raises nothing.
bool read_plain_statement(PyObject* statement, StatementText* out);

/// Dictionary reference of the SqlBlob. `params` may be null. Different statements beyond a budget are told without
/// their literals, and beyond another one by their operation: marked in the event and counted.
DictionaryRef intern_statement(SqlDriver driver, const StatementText& statement, DictionaryRef database,
                               PyObject* params);

/// The same as often as needed: a database's name for intern_statement.
DictionaryRef intern_database(std::string_view name);

}  // namespace watcher::python
