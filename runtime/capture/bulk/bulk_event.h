// One event for many changed bytes of one variable: the difference between a snapshot and what is there now. Told by
// bulk windows, by a resume after a pause, and by engines that cannot tell single stores.
//
// Owned by one thread, which holds a StoreContext or all stores off, so that the region stays; one at a time a thread.
// Fault handlers and normal context: no allocation; what is kept lies in one of a few static tables, and whoever finds
// them all in use waits.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/capture/regions/region_map.h"
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
  SpanBlob span = {};
  const NativeCallers* callers = nullptr;  // of the function that stored; null: not recorded
};

/// Ranges and the bytes kept of them, the ranges' one behind the other. Addresses, until they are published.
struct BulkTable {
  std::atomic<bool> busy{false};
  std::uint32_t most_ranges = 0;
  std::uint32_t most_kept = 0;  // bytes a side
  std::uint32_t count = 0;
  std::uint32_t kept = 0;
  std::uint64_t nearness = 0;      // ranges no further apart than this become one
  std::uintptr_t item_origin = 0;  // where items are counted from
  std::uintptr_t visible_end = 0;
  std::uint32_t item_bytes = 0;
  BulkRange ranges[kMaxBulkRanges] = {};
  std::byte before[kMaxBulkBytes] = {};
  std::byte after[kMaxBulkBytes] = {};
  // while ranges are joined
  std::uint32_t gap_kept[kMaxBulkRanges] = {};
  std::uint32_t range_kept[kMaxBulkRanges] = {};
  std::byte joined[kMaxBulkBytes] = {};
};

/// Collects differences piece by piece, then publishes them. How many bytes and ranges are kept is bounded
/// (kMaxBulkBytes, kMaxBulkRanges, and the variable's mutation_depth); what is left out is counted in the event.
class BulkDifference {
 public:
  constexpr BulkDifference() = default;
  /// A table of its own, for a difference that is collected over a longer time.
  void keep_in(BulkTable* own_table) { own_table_ = own_table; }
  ~BulkDifference() { release(); }
  BulkDifference(const BulkDifference&) = delete;
  BulkDifference& operator=(const BulkDifference&) = delete;

  /// Compares [address, address + bytes) of the region, as it is, with `before`. Pieces in ascending order.
  /// `update`: also makes `before` equal to what was found. What is not part of the variable just now is not compared.
  void add(const Region& region, std::uintptr_t address, std::byte* before, std::size_t bytes, bool update);
  bool empty() const { return changed_bytes_ == 0; }
  std::uint64_t changed_bytes() const { return changed_bytes_; }
  /// One event in the ring, also when nothing differs; starts afresh.
  void publish(const Region& region, const BulkOrigin& origin);

 private:
  struct Piece;
  void reserve(const Region& region);
  void release();
  void compare(const Piece& piece, std::uintptr_t begin, std::uintptr_t end);
  void compare_block(const Piece& piece, std::uintptr_t at);
  void compare_word(const Piece& piece, std::uint64_t difference, std::uintptr_t at);
  void record(const Piece& piece, std::uintptr_t first, std::uintptr_t last);
  void extend(const Piece& piece, std::uintptr_t last);
  void widen_end();
  void join_nearest();

  std::uint64_t changed_bytes_ = 0;
  BulkTable* table_ = nullptr;
  BulkTable* own_table_ = nullptr;
};

/// For a forked child: the tables of other threads are nobody's.
void bulk_tables_after_fork_child();

}  // namespace watcher
