// The "deltas" of an event, and what says that some were left out.
//
// One thread.
#pragma once

#include <cstdint>

#include "runtime/enrich/delta.h"
#include "runtime/output/json/json_writer.h"

namespace watcher {

struct DeltaStyle {
  static constexpr std::uint64_t kFull = 65536;
  std::uint64_t depth = kFull;  // changed bytes that are listed
  bool as_ranges = false;       // one entry a run of bytes instead of one a byte
};

class DeltaJson {
 public:
  explicit DeltaJson(const DeltaStyle& style) : style_(style) {}

  /// Writes the members "deltas" and, beyond the depth, "deltas_total" and "ranges". `base` is added to the offsets,
  /// where they are not those of a bulk event.
  /// Merges the delta's runs when there are too many to list. `depth` is the variable's own, 0: the style's.
  void write(Delta* delta, std::uint64_t base, std::uint64_t depth, JsonWriter* json);

 private:
  DeltaStyle style_;
};

}  // namespace watcher
