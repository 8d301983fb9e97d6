// The pages that a bulk window has opened, and the snapshots that what becomes of them is told by. They open in chunks,
// each twice the one before.
//
// As long as the chunks of one variable follow each other, only the latest two stay open: the others are compared and
// armed while they are still in the cache, and their snapshots' room is used again. What then stores to them once more
// traps once more: the sweep is over, and what it has found is an event of its own, published before that store's.
//
// Zone: opened in fault handlers, under a StoreContext; closed with all stores held off.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/capture/bulk/bulk_event.h"
#include "runtime/capture/regions/region_map.h"

namespace watcher {

struct Extent {
  std::uintptr_t begin;
  std::uintptr_t end;
  std::byte* before;  // the snapshot
};

/// Memory for snapshots, kept for later windows.
struct SnapshotRoom {
  std::byte* base;
  std::size_t capacity;
  std::size_t used;
};

/// All zeros: nothing is open.
struct BulkPages {
  static constexpr int kMaxExtents = 256;
  static constexpr int kMaxRooms = 4;
  static constexpr int kMaxHits = 8;

  std::size_t next_chunk;  // bytes
  bool sweeps;
  Extent told;  // of the sweep: compared and armed, but not to be stored to until `difference` is published
  int extent_count;
  int hit_count;
  Extent extents[kMaxExtents];
  SnapshotRoom rooms[kMaxRooms];
  const Region* hits[kMaxHits];  // in which a store trapped
  BulkDifference difference;     // of the sweep
  BulkTable table;
};

/// Opens pages around `address`, which lies on an armed page, and counts it in `origin`. False, and nothing has
/// changed: there is no room, or the page is open in another way.
bool bulk_pages_open(BulkPages* pages, std::uintptr_t address, BulkOrigin* origin);
bool bulk_pages_contain(const BulkPages& pages, std::uintptr_t address);
/// Its page is armed, but was told and is not published yet: bulk_pages_open does so.
bool bulk_pages_told(const BulkPages& pages, std::uintptr_t address);
/// Is a page of [begin, end) open or told?
bool bulk_pages_meet(const BulkPages& pages, std::uintptr_t begin, std::uintptr_t end);
/// Closes all of them and tells what changed. Returns how many bytes did.
std::uint64_t bulk_pages_close(BulkPages* pages, const BulkOrigin& origin);

}  // namespace watcher
