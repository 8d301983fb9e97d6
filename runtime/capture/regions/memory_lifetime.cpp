#include "runtime/capture/regions/memory_lifetime.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/bulk/bulk_event.h"
#include "runtime/capture/engines/engine.h"
#include "runtime/capture/engines/hwbp_engine.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/alias_pages.h"
#include "runtime/capture/regions/region_life.h"
#include "runtime/capture/regions/region_set.h"
#include "runtime/capture/regions/self_memory.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/store.h"

namespace watcher {
namespace {

constexpr int kLiftedAtOnce = 64;
#ifndef MADV_DONTNEED_LOCKED
constexpr int MADV_DONTNEED_LOCKED = 24;
#endif

/// Watches that have let go of memory while a call changes it.
struct Lifted {
  Region* first = nullptr;  // linked by next_free; null: the record is free
  std::uintptr_t begin = 0;
  std::size_t bytes = 0;
};

constinit Lifted lifted[kLiftedAtOnce];  // stores held off
using Call = void (*)();
constinit Call watched_in_place = nullptr;
constinit std::atomic<bool> any_in_place{false};

bool none_of_ours(std::uintptr_t begin, std::uintptr_t end) {
  const ThreadState& thread = thread_state;
  if (!any_in_place.load(std::memory_order_relaxed) || thread.holds_stores_off || thread.current != nullptr)
    return true;
  return end <= begin || surely_unwatched(begin, end) || next_watched_page(page_of(begin), end) >= end;
}

Region* overlapping_region(std::uintptr_t begin, std::uintptr_t end) {
  for (std::uintptr_t at = page_of(begin); (at = next_watched_page(at, end)) < end; at += kPageBytes) {
    Region* found = nullptr;
    for_each_region(*find_page(at), [&](Region& region) {
      if (region.begin() < end && region.end() > begin) found = &region;
    });
    if (found != nullptr) return found;
  }
  return nullptr;
}

Lifted* free_record() {
  for (Lifted& record : lifted)
    if (record.first == nullptr) return &record;
  return nullptr;
}

/// Where the region lies now. False: its memory, or part of it, is gone.
bool follow(Region* region, const Lifted& record, std::uintptr_t start, std::size_t bytes) {
  const std::uintptr_t old = region->begin();
  if (start == record.begin && bytes >= record.bytes) return true;
  if (start == 0 || old < record.begin || region->end() > record.begin + record.bytes) return false;
  const std::size_t offset = old - record.begin;
  if (offset >= bytes) return false;
  MemoryVariable& variable = region->variable;
  if (variable.capacity > bytes - offset) variable.capacity = bytes - offset;
  variable.base = reinterpret_cast<void*>(start + offset);
  if (region->begin() != old) tell_of_region(*region, Op::kMoved, old, region->begin());
  return true;
}

void settle(Region* region, const Lifted& record, std::uintptr_t start, std::size_t bytes) {
  Op end = Op::kFreed;
  if (!region->lifted)
    end = region->ends_as;  // unwatched meanwhile
  else if (follow(region, record, start, bytes) && engage_region(region) == 0)
    end = Op::kInit;
  region->lifted = false;
  if (end == Op::kInit) return;
  if (end != Op::kCount) tell_of_region(*region, end, 0, 0);
  free_region(region);
}

bool is_inline(std::uintptr_t address) {
  const Page* page = find_page(address);
  return page != nullptr && page->armed && page->engine == &inline_engine;
}

void remember_protection(std::uintptr_t begin, std::uintptr_t end, int protection) {
  for (std::uintptr_t at = begin; (at = next_watched_page(at, end)) < end; at += kPageBytes)
    find_page(at)->protection = static_cast<std::uint8_t>(protection & (PROT_READ | PROT_WRITE | PROT_EXEC));
}

long protect(std::uintptr_t address, std::size_t bytes, int protection, int key) {
  return key < 0 ? raw_syscall(SYS_mprotect, address, bytes, protection)
                 : raw_syscall(SYS_pkey_mprotect, address, bytes, protection, key);
}

/// The watched part of a region that loses its content, as it was.
struct Discarded {
  const Region* region;
  std::uintptr_t begin;
  std::size_t bytes;
};

/// Content before the call, of one region after the other. Stores held off.
class Snapshot {
 public:
  Snapshot(std::uintptr_t begin, std::uintptr_t end) {
    std::size_t bytes = 0;
    visit(begin, end, [&](const Discarded& part) { bytes += part.bytes; });
    const long memory = raw_syscall(SYS_mmap, nullptr, bytes, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory < 0 && memory > -4096) return;
    content_ = reinterpret_cast<std::byte*>(memory);
    bytes_ = bytes;
    std::byte* to = content_;
    visit(begin, end, [&](const Discarded& part) {
      guarded_copy(to, reinterpret_cast<const void*>(part.begin), part.bytes);
      to += part.bytes;
    });
  }
  ~Snapshot() {
    if (content_ != nullptr) raw_syscall(SYS_munmap, content_, bytes_);
  }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  /// Tells each variable what it lost.
  void publish(std::uintptr_t begin, std::uintptr_t end) {
    if (content_ == nullptr) {
      memory_state.ring->header()->dropped.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    sampled_engine_look_again();
    BulkOrigin origin = {Op::kKernelWrite, 0, SYS_madvise + 1, current_thread_id(), 0, 0, 0, true};
    StoreContext* context = acquire_store_context();
    origin.place = place_of_writer(context, nullptr, &origin.context);
    origin.span = context->span;
    hwbp_kernel_wrote(begin, end, SYS_madvise + 1);
    release_store_context(context);
    std::byte* before = content_;
    visit(begin, end, [&](const Discarded& part) {
      BulkDifference difference;
      if (guarded_touch_page(part)) difference.add(*part.region, part.begin, before, part.bytes, false);
      if (!difference.empty()) difference.publish(*part.region, origin);
      before += part.bytes;
    });
  }

 private:
  /// Memory that cannot be read any more has no new content to tell of.
  static bool guarded_touch_page(const Discarded& part) {
    std::byte byte;
    return guarded_copy(&byte, reinterpret_cast<const void*>(part.begin), 1);
  }

  /// Each region once, at the first of its pages within the range.
  template <class Visit>
  static void visit(std::uintptr_t begin, std::uintptr_t end, Visit each) {
    for (std::uintptr_t at = begin; (at = next_watched_page(at, end)) < end; at += kPageBytes)
      for_each_region(*find_page(at), [&](const Region& region) {
        if (region.engine != nullptr) return;
        const std::uintptr_t first = region.begin() > begin ? region.begin() : begin;
        const std::uintptr_t last = region.end() < end ? region.end() : end;
        if (page_of(first) == at) each(Discarded{&region, first, last - first});
      });
  }

  std::byte* content_ = nullptr;
  std::size_t bytes_ = 0;
};

/// After MADV_FREE the kernel may take a page at any time, unless it was written to again: so each is.
void keep_content(std::uintptr_t begin, std::uintptr_t end) {
  for (std::uintptr_t at = begin; (at = next_watched_page(at, end)) < end; at += kPageBytes) {
    if (!find_page(at)->armed) continue;  // a store of another thread could come between the two
    std::byte byte;
    if (guarded_copy(&byte, reinterpret_cast<const void*>(at), 1)) write_protected_memory(at, &byte, 1);
  }
}

}  // namespace

void when_watched_in_place(void (*call)()) {
  watched_in_place = call;
}

void note_watch_in_place() {
  if (any_in_place.exchange(true, std::memory_order_relaxed)) return;
  if (watched_in_place != nullptr) watched_in_place();
}

std::uint64_t lift_watches(void* start, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(start);
  const std::uintptr_t end = begin + bytes;
  if (none_of_ours(begin, end)) return 0;
  StoresHeldOff held;
  Lifted* record = free_record();
  while (Region* region = overlapping_region(begin, end)) {
    if (record == nullptr) {
      end_region(region, Op::kFreed);
      continue;
    }
    disengage_region(region);
    region->lifted = true;
    region->next_free = record->first;
    record->first = region;
    record->begin = begin;
    record->bytes = bytes;
  }
  return record == nullptr || record->first == nullptr ? 0 : static_cast<std::uint64_t>(record - lifted) + 1;
}

// A segment's identifier is its file's number: what /proc shows is meant to say so.
std::size_t segment_bytes(const void* start) {
  const auto begin = reinterpret_cast<std::uintptr_t>(start);
  Mapping mapping;
  shmid_ds segment{};
  if (none_of_ours(begin, ~std::uintptr_t{0}) || !describe_mapping(begin, &mapping) || !mapping.shared) return 0;
  const long known = raw_syscall(SYS_shmctl, static_cast<int>(mapping.inode), IPC_STAT, &segment);
  return known == 0 ? segment.shm_segsz : mapping.end - begin;
}

void settle_watches(std::uint64_t token, void* start, std::size_t bytes) {
  if (token == 0) return;
  StoresHeldOff held;
  const Lifted record = lifted[token - 1];
  lifted[token - 1] = {};
  for (Region* region = record.first; region != nullptr;) {
    Region* next = region->next_free;
    region->next_free = nullptr;
    settle(region, record, reinterpret_cast<std::uintptr_t>(start), bytes);
    region = next;
  }
}

int protect_watched(void* start, std::size_t bytes, int protection, int key, int* result) {
  const auto begin = reinterpret_cast<std::uintptr_t>(start);
  const std::uintptr_t end = page_of(begin + bytes + kPageMask);
  if ((begin & kPageMask) != 0 || none_of_ours(begin, end)) return 0;
  StoresHeldOff held;
  long error = 0;
  for (std::uintptr_t at = begin; at < end && error == 0;) {
    const bool trapping = is_inline(at);
    std::uintptr_t run = at;
    while (run < end && is_inline(run) == trapping)
      run = trapping ? run + kPageBytes : next_watched_page(run + kPageBytes, end);
    if (run > end) run = end;
    error = protect(at, run - at, trapping ? without_write(protection) : protection, key);
    if (error == 0) remember_protection(at, run, protection);
    at = run;
  }
  if (error != 0) errno = static_cast<int>(-error);
  *result = error == 0 ? 0 : -1;
  return 1;
}

int advise_watched(void* start, std::size_t bytes, int advice, int* result) {
  const bool takes_content =
      advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE || advice == MADV_DONTNEED_LOCKED;
  const auto begin = reinterpret_cast<std::uintptr_t>(start);
  const std::uintptr_t end = page_of(begin + bytes + kPageMask);
  if (!takes_content || memory_state.paused || (begin & kPageMask) != 0 || none_of_ours(begin, end)) return 0;
  StoresHeldOff held;
  Snapshot snapshot(begin, end);
  const long outcome = raw_syscall(SYS_madvise, start, bytes, advice);
  if (outcome == 0 && advice == MADV_FREE) keep_content(begin, end);
  snapshot.publish(begin, end);
  if (outcome != 0) errno = static_cast<int>(-outcome);
  *result = outcome == 0 ? 0 : -1;
  return 1;
}

}  // namespace watcher
