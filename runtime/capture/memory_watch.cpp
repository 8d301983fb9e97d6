#include "runtime/capture/memory_watch.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/capture/engines/engine.h"
#include "runtime/capture/engines/engine_choice.h"
#include "runtime/capture/kernel/kernel_buffers.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/alias_pages.h"
#include "runtime/capture/regions/memory_lifetime.h"
#include "runtime/capture/regions/region_life.h"
#include "runtime/capture/regions/region_set.h"
#include "runtime/capture/regions/self_memory.h"
#include "runtime/capture/signals/fault_signals.h"
#include "runtime/capture/store/code_modules.h"
#include "runtime/capture/store/code_slots.h"
#include "runtime/capture/store/native_stack.h"
#include "runtime/capture/store/store.h"
#include "runtime/capture/threads/thread_memory.h"

namespace watcher {

constinit MemoryState memory_state;

namespace {

/// What stores need in signal handlers, all of it reserved before the first one.
bool reserve_for_stores() {
  return store_contexts_reserve() && kernel_buffers_reserve() && (code_slots_reserve(), true);
}

/// The rest of the move of an allocation: its regions follow by `distance`.
void move_regions(std::uintptr_t from, std::size_t bytes, std::ptrdiff_t distance, std::size_t new_bytes) {
  while (Region* region = region_within(from, from + bytes)) {
    const std::uintptr_t old = region->begin();
    disengage_region(region);
    const std::size_t offset = old - from;
    MemoryVariable& variable = region->variable;
    const bool to_the_end = offset + variable.capacity == bytes;
    if (offset >= new_bytes) {
      tell_of_region(*region, Op::kFreed, 0, 0);
      free_region(region);
      continue;
    }
    variable.base = static_cast<std::byte*>(variable.base) + distance;
    if (to_the_end || offset + variable.capacity > new_bytes) variable.capacity = new_bytes - offset;
    tell_of_region(*region, Op::kMoved, old, region->begin());
    if (engage_region(region) != 0) free_region(region);
  }
}

}  // namespace

void memory_record_stacks(PlaceOfWriter stack) {
  memory_state.stack = stack;
}

void memory_record_spans(PlaceOfWriter span) {
  memory_state.span.store(span, std::memory_order_relaxed);
}

int memory_start(EventRing* ring, const char* engine, PlaceOfWriter place) {
  memory_state.ring = ring;
  memory_state.place = place;
  if (!reserve_for_stores()) {
    memory_state.ring = nullptr;
    return ENOMEM;
  }
  code_modules_prepare();
  open_self_memory();
  measure_thread_block();
  choose_engine(engine);
  return 0;
}

void memory_record_callers(std::uint32_t most) {
  memory_state.callers = most < kMaxNativeFrames ? most : kMaxNativeFrames;
  if (most != 0) native_stack_prepare();
}

void* memory_allocate(std::size_t bytes) {
  if (memory_state.ring == nullptr) {
    errno = ENOTSUP;
    return nullptr;
  }
  StoresHeldOff held;
  return alias_allocate(bytes);
}

std::size_t memory_allocated(const void* pointer) {
  return alias_allocated(reinterpret_cast<std::uintptr_t>(pointer));
}

int memory_free(void* pointer) {
  const std::size_t bytes = memory_allocated(pointer);
  if (bytes == 0) return 0;
  const auto begin = reinterpret_cast<std::uintptr_t>(pointer);
  StoresHeldOff held;
  while (Region* region = region_within(begin, begin + bytes)) end_region(region, Op::kFreed);
  alias_free(begin);
  return 1;
}

RegionId memory_watch(const MemoryVariable& variable) {
  const auto begin = reinterpret_cast<std::uintptr_t>(variable.base);
  const bool sane = begin != 0 && variable.capacity != 0 && begin + variable.capacity > begin;
  int error = memory_state.ring == nullptr ? ENOTSUP
              : !sane                      ? EINVAL
                                           : check_watchable(begin, begin + variable.capacity);
  if (error == 0) {
    fault_signals_install();
    if (!alias_pages_contain(begin)) note_watch_in_place();
    StoresHeldOff held;
    Region* region = allocate_region(variable);
    error = region == nullptr ? ENOMEM : engage_region(region);
    if (error == 0) return region->id();
    if (region != nullptr) free_region(region);
  }
  errno = error;
  return 0;
}

std::uint32_t memory_regions() {
  return region_count();
}

void memory_unwatch(RegionId id, Op op) {
  if (memory_state.ring == nullptr) return;
  StoresHeldOff held;
  Region* region = find_region(id);
  if (region != nullptr) end_region(region, op);
}

// The content is copied with stores held off, so that none falls between the old pages and the new ones.
void* memory_resize(void* pointer, std::size_t bytes) {
  const std::size_t had = memory_allocated(pointer);
  if (had == 0 || bytes == 0) {
    errno = EINVAL;
    return nullptr;
  }
  if (bytes <= had && bytes > had / 2) return pointer;
  StoresHeldOff held;
  void* moved = alias_allocate(bytes);
  if (moved == nullptr) return bytes <= had ? pointer : nullptr;
  const std::size_t has = memory_allocated(moved);
  memcpy(moved, pointer, had < has ? had : has);
  const auto from = reinterpret_cast<std::uintptr_t>(pointer);
  move_regions(from, had, static_cast<std::byte*>(moved) - static_cast<std::byte*>(pointer), has);
  alias_free(from);
  return moved;
}

}  // namespace watcher
