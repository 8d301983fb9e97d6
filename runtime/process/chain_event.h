// An event on its way through the chain: its line, and what processors have added to it.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace watcher {

/// What is known of a line without reading it; also part of the spool's format.
struct LineInfo {
  std::uint64_t variable_id = 0;
  std::uint64_t coalesced = 0;
  std::uint32_t bytes = 0;  // newline included
  std::uint32_t reserved = 0;
};
static_assert(sizeof(LineInfo) == 24);

struct ChainEvent {
  std::string_view line;  // a JSON object, without newline
  const LineInfo* info = nullptr;
  bool dropped = false;
  std::string annotations;  // a JSON object, or empty
  std::string extra;        // the same

  /// The line with what was added, newline included.
  void append_to(std::string* out) const;
};

/// What a worker answered to an event.
struct Reply {
  enum class Kind { kPass, kDrop, kAnnotate, kEnrich, kFailure, kReady, kNonsense };
  Kind kind = Kind::kNonsense;
  std::string_view content;  // of annotate and enrich: a JSON object; of a failure: its text, as JSON
};

/// The content of a failure as plain text.
std::string decoded_text(std::string_view content);

/// Whatever the text is: its content is valid JSON, not nested deeper than other programs can read.
Reply parse_reply(std::string_view line);

/// Joins two JSON objects that parse_reply has let through; of a key that is in both, the later value stays.
std::string merge_objects(std::string_view first, std::string_view second);

}  // namespace watcher
