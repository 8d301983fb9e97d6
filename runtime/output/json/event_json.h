// An event as one line of JSON, schema 1. One object a ring: it knows the ring's process and caches what events share.
//
// One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "runtime/enrich/decode.h"
#include "runtime/enrich/delta.h"
#include "runtime/enrich/symbol_cache.h"
#include "runtime/output/json/delta_json.h"
#include "runtime/output/json/json_writer.h"
#include "runtime/queue/ring_reader.h"

namespace watcher {

class EventJson {
 public:
  EventJson(const RingIdentity& ring, const DeltaStyle& style);

  /// Appends the line, newline included. `delta` is the comparison of the event's two sides.
  void append(const EventView& event, Delta* delta, std::uint64_t timestamp_ns, JsonBuffer* out);
  /// Adds to the line that ends at `line_end` how many events were lost before it; returns by how much it has grown.
  static std::size_t tell_dropped(std::size_t line_end, std::uint64_t dropped_before, JsonBuffer* lines);

 private:
  /// The members from "pid" to the key "thread_id", the same for every event of one variable at one place.
  const std::string& subject_members(const EventView& event);
  std::string subject_text(const EventView& event) const;
  void write_head(std::uint64_t ticket, std::uint64_t timestamp_ns);
  void write_sides(const EventView& event);
  void write_sql(const EventView& event);
  void write_native(const EventView& event);
  void write_span(const SpanBlob& span);
  void write_marks(const EventView& event);

  std::uint32_t pid_;
  std::string head_;  // up to the event's own number in its id
  DeltaJson deltas_;
  JsonBuffer unused_;  // the writer must have a buffer from the start
  JsonWriter json_;
  std::unordered_map<std::uint64_t, std::string> subjects_;
  std::shared_ptr<const NativeSymbol> last_native_;  // whose text is in native_text_
  std::string native_text_;
  std::uint64_t last_subject_key_ = ~std::uint64_t{0};
  const std::string* last_subject_ = nullptr;
};

}  // namespace watcher
