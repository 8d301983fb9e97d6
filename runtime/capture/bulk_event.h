// One event for many changed bytes of one variable: the difference between a snapshot and what is there now. Told by
// bulk windows, by a resume after a pause, and by engines that cannot tell single stores.
//
// Owned by one thread. Fault handlers and normal context: no allocation, no lock; a static table bounds what is kept.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/capture/region_map.h"
#include "runtime/queue/event.h"

namespace watcher {

struct BulkOrigin {
  Op op;
  std::uint64_t ip;           // 0: not known
  std::uint32_t system_call;  // number + 1
  std::uint32_t thread_id;    // the writer's; 0: not known
  DictionaryRef place;
  DictionaryRef context;
  std::uint64_t coalesced;  // stores that are known to be part of it; 0: not counted
  bool exact;               // false: stores of others may be among them, or the writer is a guess
};

/// Collects differences piece by piece, then publishes them. How many bytes and ranges are kept is bounded
/// (kMaxBulkBytes, kMaxBulkRanges, and the variable's mutation_depth); what is left out is counted in the event.
class BulkDifference {
 public:
  /// Compares [address, address + bytes) of the region, as it is, with `before`. Pieces in ascending order.
  /// `update`: also makes `before` equal to what was found.
  void add(const Region& region, std::uintptr_t address, std::byte* before, std::size_t bytes, bool update);
  bool empty() const { return changed_bytes_ == 0; }
  /// One event in the ring; starts afresh.
  void publish(const Region& region, const BulkOrigin& origin);

 private:
  std::uint64_t changed_bytes_ = 0;
};

}  // namespace watcher
