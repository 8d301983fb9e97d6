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

/// Second and further regions of a page.
struct RegionLink {
  Region* region;
  RegionLink* next;
};

struct Page {
  SpinLock lock;                    // held from a store's fault to its commit
  std::atomic<bool> armed{false};   // write-protected by us; read without a lock to tell whose a fault is
  std::atomic<bool> paused{false};  // would be armed if capture were not paused
  std::atomic<bool> open{false};    // armed, but for a bulk window; changed under `lock` or with stores held off
  std::uint8_t protection = 0;      // what the host believes it is (PROT_*)
  const Engine* engine = nullptr;
  std::ptrdiff_t alias = 0;   // distance to the writable second mapping, 0: there is none
  std::byte* told = nullptr;  // what events have told so far, of a page that is open or was; null: what is there
  Region* first = nullptr;
  RegionLink* more = nullptr;

  bool watched() const { return first != nullptr; }
  bool placed() const { return armed || paused; }
  /// A store traps here, and the host itself would have allowed it.
  bool takes_stores() const { return armed && (protection & PROT_WRITE) != 0; }
};

template <class Visit>
void for_each_region(const Page& page, Visit visit) {
  if (page.first == nullptr) return;
  visit(*page.first);
  for (const RegionLink* link = page.more; link != nullptr; link = link->next) visit(*link->region);
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

/// Calls visit(region) for every region, in no order; it may free that region.
using RegionVisitor = void (*)(Region& region, void* argument);
void for_every_region(RegionVisitor visit, void* argument);
/// How many there are. Any context.
std::uint32_t region_count();

}  // namespace watcher
