// SQL statements on their way to the dictionary, whatever language executes them.
//
// One thread at a time: the caller holds its interpreter's lock, or one of its own.
#pragma once

#include <cstdint>
#include <string_view>

#include "runtime/queue/event_ring.h"

namespace watcher {

inline constexpr std::size_t kMaxStatementBytes = 4096;

struct SqlText {
  std::string_view driver;
  std::string_view statement;  // at most kMaxStatementBytes
  DictionaryRef database = 0;
  std::string_view params;
  bool cut = false;  // the statement was longer
};

/// The first keyword behind comments and brackets, upper case; for WITH the one of the statement that it introduces.
/// Views `room` or constants; empty when the text does not open with a word.
std::string_view operation_of(std::string_view statement, char (&room)[16]);

/// Dictionary reference of the SqlBlob. Different statements beyond a budget are told without their literals, and
/// beyond another one by their operation: marked in the event and counted.
DictionaryRef intern_sql(EventRing& ring, const SqlText& sql);

/// The same as often as needed: a database's name.
DictionaryRef intern_sql_database(EventRing& ring, std::string_view name);

}  // namespace watcher
