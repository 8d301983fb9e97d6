// Values of an event as JSON: {"type": …, "value": …}, or {"type": …, "repr": …} where JSON has no such value.
//
// One thread.
#pragma once

#include "runtime/enrich/decode.h"
#include "runtime/output/json/json_writer.h"

namespace watcher {

/// An object's side of an event; null when unbound.
void write_value(const ValueView& value, JsonWriter* json);

/// Both sides and the path of a memory event, as elements of the buffer.
class MemoryItems {
 public:
  explicit MemoryItems(const EventView& event);

  void write_path(JsonWriter* json) const;
  /// Of a bulk event the first range is shown.
  void write_side(const ValueView& value, JsonWriter* json) const;

 private:
  std::string_view format_;
  std::uint32_t item_size_;
  std::uint64_t total_;  // bytes from the first to the last that changed
  std::uint64_t shown_;  // of these, the first ones: all there are, or were kept in a row
  std::uint64_t first_;  // index
  std::uint64_t end_;    // exclusive
  bool whole_;           // the bytes are whole items
};

void write_path(const std::vector<PathPart>& path, JsonWriter* json);

}  // namespace watcher
