// Which bytes of a value changed: runs of differing bytes, found at the speed of memory.
//
// One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/enrich/decode.h"

namespace watcher {

struct DeltaRun {
  std::uint64_t offset;
  std::uint64_t length;
  bool operator==(const DeltaRun&) const = default;
};

/// The difference of two byte strings. Offsets count from the start of the strings.
struct Delta {
  std::string_view before;
  std::string_view after;
  std::vector<DeltaRun> runs;       // of differing bytes within the common length, ascending, apart
  std::uint64_t changed_bytes = 0;  // sum of the runs
  std::uint64_t size_before = 0;    // full lengths, also where only a prefix was kept
  std::uint64_t size_after = 0;
  std::vector<BulkRange> ranges;  // of a bulk event: where the strings' bytes are in the variable, range by range

  bool size_changed() const { return size_before != size_after; }
  bool empty() const { return changed_bytes == 0 && !size_changed(); }
};

/// Has the processor vectors of 32 bytes?
bool has_wide_compare();

/// Appends the runs of differing bytes of two strings of equal length; returns how many bytes differ.
std::uint64_t find_runs(const char* before, const char* after, std::size_t length, std::vector<DeltaRun>* runs,
                        bool wide = has_wide_compare());

/// Bytes from which a value's deltas come: bool and small ints 8 bytes little-endian, float IEEE-754, text UTF-8, …;
/// none for None and unbound. Valid as long as `value` is.
std::string_view canonical_bytes(const ValueView& value);

/// Compares an event's two sides into `delta` (reused: its storage is kept). A side that is unbound leaves no bytes to
/// compare, so a binding or a deletion is one change of size.
void compare(const ValueView& before, const ValueView& after, Delta* delta);

/// The same for any event. Of a bulk event no run goes beyond its range, and `changed_bytes` counts also what was not
/// kept.
void compare(const EventView& event, Delta* delta);

/// Joins neighbouring runs, nearest first, until at most `most` are left.
void merge_runs(std::vector<DeltaRun>* runs, std::size_t most);

}  // namespace watcher
