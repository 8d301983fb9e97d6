// The events of an output directory, in the order in which they were written, and how one is shown. One thread.
#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/result.h"
#include "tools/terminal-text.h"

namespace watcher {

/// One line of events.jsonl; lives as long as the call that it is given to.
class RecordedEvent {
 public:
  /// False when the line is no event.
  bool parse(std::string_view line);

  std::string_view line() const { return line_; }
  std::string_view text(const char* key) const;
  std::uint64_t number(const char* key) const;
  /// `state["users"][3]`
  std::string name_and_path() const;
  /// "before" or "after" as Python would write it; "unbound" for null.
  std::string value(const char* side) const;
  /// The plain value for comparisons: a string without its quotes.
  std::string bare_value(const char* side) const;
  /// The statement, empty without one.
  std::string_view sql() const;
  std::string where() const;

 private:
  std::string_view line_;
  rapidjson::Document json_;
};

/// Calls for each event until it returns false: the files put aside, compressed or not, by their numbers, then
/// events.jsonl. With `follow` it waits for more, and goes on in the next file when one is put aside.
Result<void> read_events(const std::string& directory, bool follow,
                         const std::function<bool(const RecordedEvent&)>& see);

/// One line, safe for terminals.
std::string show_event(const RecordedEvent& event, const Painter& paint);

/// A moment as users write it: 10s, 5m, 2h, 3d ago; 04:36[:05.5] today; 2026-11-23[ 04:36[:05.5]][Z]; seconds or
/// nanoseconds since 1970. Nanoseconds since 1970.
Result<std::uint64_t> parse_moment(const std::string& text);

/// A name, or a glob that fits it.
bool fits(const std::string& pattern, std::string_view text);

}  // namespace watcher
