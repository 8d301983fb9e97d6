// Which variables lie on a page: a radix tree over page numbers, found without a lock by the fault handlers.
//
// Readers hold a StoreContext (store_context.h); whoever changes the map holds all stores off first. So nothing here is
// reclaimed under a reader, and a page's list needs no lock of its own. Tree nodes live for ever.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/capture/memory_watch.h"
#include "runtime/capture/spin_lock.h"

namespace watcher {

inline constexpr std::uintptr_t kPageMask = kPageBytes - 1;
constexpr std::uintptr_t page_of(std::uintptr_t address) {
  return address & ~kPageMask;
}

struct Engine;

/// One watched variable.
struct Region {
  MemoryVariable variable;
  const Engine* engine = nullptr;    // one that watches regions; null: the pages' engines do
  bool lifted = false;               // its memory is being changed; in no page's list meanwhile (memory_lifetime.h)
  Op ends_as = Op::kCount;           // of a lifted one that was unwatched
  std::byte* paused_copy = nullptr;  // what it held when capture was paused, its first `paused_bytes`; not owned
  std::size_t paused_bytes = 0;
  std::uint32_t generation = 0;  // tells a reused slot from the region a stale RegionId meant
  std::uint32_t index = 0;
  Region* next_free = nullptr;

  std::uintptr_t begin() const { return reinterpret_cast<std::uintptr_t>(variable.base); }
  std::uintptr_t end() const { return begin() + variable.capacity; }
  RegionId id() const { return RegionId{generation} << 32 | (index + 1); }
};

/// All regions of a page that has several, in order of address, so that a store's are found by halving.
struct RegionIndex {
  struct Entry {
    Region* region;
    std::uintptr_t begin;
    std::uintptr_t reach;  // furthest end of this region and of those before it
  };
  std::uint32_t count;
  std::uint32_t size_class;
  RegionIndex* next_free;

  Entry* entries() { return reinterpret_cast<Entry*>(this + 1); }
  const Entry* entries() const { return reinterpret_cast<const Entry*>(this + 1); }
  /// How many of the entries begin before `end`.
  std::uint32_t count_before(std::uintptr_t end) const {
    std::uint32_t low = 0, high = count;
    while (low < high) {
      const std::uint32_t middle = (low + high) / 2;
      if (entries()[middle].begin < end)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

struct Page {
  SpinLock lock;                    // held from a store's fault to its commit
  std::atomic<bool> armed{false};   // write-protected by us; read without a lock to tell whose a fault is
  std::atomic<bool> paused{false};  // would be armed if capture were not paused
  std::atomic<bool> open{false};    // armed, but for a bulk window; changed under `lock` or with stores held off
  std::uint8_t protection = 0;      // what the host believes it is (PROT_*)
  const Engine* engine = nullptr;
  std::ptrdiff_t alias = 0;     // distance to the writable second mapping, 0: there is none
  std::byte* told = nullptr;    // what events have told so far, of a page that is open or was; null: what is there
  Region* first = nullptr;      // the largest
  RegionIndex* more = nullptr;  // null when `first` is the only one

  bool watched() const { return first != nullptr; }
  bool placed() const { return armed || paused; }
  /// A store traps here, and the host itself would have allowed it.
  bool takes_stores() const { return armed && (protection & PROT_WRITE) != 0; }
};

template <class Visit>
void for_each_region(const Page& page, Visit visit) {
  if (page.more == nullptr) {
    if (page.first != nullptr) visit(*page.first);
    return;
  }
  for (std::uint32_t i = 0; i < page.more->count; ++i) visit(*page.more->entries()[i].region);
}
/// Only those that may have a byte in [begin, end): what `visit` is given need not.
template <class Visit>
void for_each_region_in(const Page& page, std::uintptr_t begin, std::uintptr_t end, Visit visit) {
  if (page.more == nullptr) return for_each_region(page, visit);
  const RegionIndex::Entry* entries = page.more->entries();
  const std::uint32_t last = page.more->count_before(end);
  std::uint32_t first = last;
  while (first > 0 && entries[first - 1].reach > begin) --first;
  for (; first < last; ++first) visit(*entries[first].region);
}

/// The page's entry, null when nothing on it was ever watched. Any context.
Page* find_page(std::uintptr_t address);
/// The first page at or behind `begin` that has a region; `end` or more when there is none. Without a lock the answer
/// is a hint.
std::uintptr_t next_watched_page(std::uintptr_t begin, std::uintptr_t end);
/// True when nothing between the two addresses can be watched: a cheap no for the kernel-write hooks. Any context.
bool surely_unwatched(std::uintptr_t begin, std::uintptr_t end);

// All below: stores held off by the caller.

/// Null when memory for the tree is short.
Page* make_page(std::uintptr_t address);

/// A region in no page's list yet; null when memory is short.
Region* allocate_region(const MemoryVariable& variable);
void free_region(Region* region);
/// Null for a stale or foreign id.
Region* find_region(RegionId id);

/// False when memory is short.
bool add_to_page(Page& page, Region* region);
void remove_from_page(Page& page, Region* region);
/// Moves the bounds of surely_unwatched outwards.
void include_in_bounds(std::uintptr_t begin, std::uintptr_t end);

/// Calls visit(address, page) for every armed, or every paused page, in order of address.
using PageVisitor = void (*)(std::uintptr_t address, Page& page, void* argument);
void for_each_armed_page(PageVisitor visit, void* argument);
void for_each_paused_page(PageVisitor visit, void* argument);
/// What a helper held that is gone, or that runs for the parent of this process only. Needs no stores held off.
void take_pages_from_helper();

/// Calls visit(region) for every region, in no order; it may free that region.
using RegionVisitor = void (*)(Region& region, void* argument);
void for_every_region(RegionVisitor visit, void* argument);
/// How many there are. Any context.
std::uint32_t region_count();

}  // namespace watcher
