// Pausing: what is watched is copied and its pages are opened; the end of the pause protects them again, and then tells
// what changed. In that order: from the protection on nobody else stores, since stores are held off all the while.
#include <errno.h>
#include <sys/mman.h>

#include "runtime/capture/bulk/bulk_event.h"
#include "runtime/capture/bulk/bulk_window.h"
#include "runtime/capture/engines/engine.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/region_life.h"
#include "runtime/capture/regions/region_set.h"
#include "runtime/capture/regions/self_memory.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/store_context.h"

namespace watcher {
namespace {

// One mapping for all copies; whoever holds stores off.
constinit std::byte* copies = nullptr;
constinit std::size_t copies_bytes = 0;

/// Neighbouring pages that one call switches.
struct PageRun {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  const Engine* engine = nullptr;
  int protection = 0;
};

template <class Visit>
void for_each_page_of(const PageRun& run, Visit visit) {
  for (std::uintptr_t address = run.begin; address < run.end; address += kPageBytes)
    visit(address, *find_page(address));
}

void disarm_run(PageRun* run) {
  if (run->begin == run->end) return;
  run->engine->disarm(run->begin, run->end - run->begin, run->protection);
  for_each_page_of(*run, [](std::uintptr_t, Page& page) {
    page.paused = true;
    page.armed = false;
  });
}

void mark_armed(Page& page) {
  page.armed = true;
  page.paused = false;
}

/// A page that cannot be armed is left without a mark; its regions are found by that.
void arm_run(PageRun* run) {
  if (run->begin == run->end) return;
  for_each_page_of(*run, [](std::uintptr_t, Page& page) { mark_armed(page); });
  if (run->engine->arm(run->begin, run->end - run->begin, run->protection) == 0) return;
  for_each_page_of(*run, [&](std::uintptr_t address, Page& page) {
    page.armed = run->engine->arm(address, kPageBytes, run->protection) == 0;
  });
}

/// Extends the run by the page, or has it switched and starts the next one.
template <void (*switch_run)(PageRun*)>
void add_page(std::uintptr_t address, Page& page, void* argument) {
  auto* run = static_cast<PageRun*>(argument);
  if (run->end != address || run->engine != page.engine || run->protection != page.protection) {
    switch_run(run);
    *run = {address, address, page.engine, page.protection};
  }
  run->end += kPageBytes;
}

constexpr std::size_t copy_bytes_of(const Region& region) {
  return (region.variable.capacity + 15) & ~std::size_t{15};
}

bool copy_regions() {
  std::size_t bytes = 0;
  for_every_region([](Region& region, void* sum) { *static_cast<std::size_t*>(sum) += copy_bytes_of(region); }, &bytes);
  if (bytes == 0) return true;
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return false;
  madvise(mapped, bytes, MADV_DONTDUMP);
  copies = static_cast<std::byte*>(mapped);
  copies_bytes = bytes;
  std::byte* next = copies;
  for_every_region(
      [](Region& region, void* argument) {
        auto*& at = *static_cast<std::byte**>(argument);
        const bool copied = guarded_copy(at, region.variable.base, region.variable.capacity);
        region.paused_copy = copied ? at : nullptr;
        region.paused_bytes = region.variable.capacity;
        at += copy_bytes_of(region);
      },
      &next);
  return true;
}

void drop_copies() {
  if (copies != nullptr) munmap(copies, copies_bytes);
  copies = nullptr;
}

void tell_changes(const Region& region) {
  if (region.paused_copy == nullptr) return;
  const std::size_t capacity = region.variable.capacity;
  BulkDifference difference;
  difference.add(region, region.begin(), region.paused_copy,
                 capacity < region.paused_bytes ? capacity : region.paused_bytes, false);
  // Who stored it, and in how many stores, is not known.
  if (!difference.empty())
    difference.publish(region, {.op = Op::kResumed,
                                .ip = 0,
                                .system_call = 0,
                                .thread_id = 0,
                                .place = 0,
                                .context = 0,
                                .coalesced = 0,
                                .exact = false});
}

bool is_there(const Region& region) {
  Mapping mapping;
  for (std::uintptr_t address = region.begin(); address < region.end(); address = mapping.end)
    if (!describe_mapping(address, &mapping) || (mapping.protection & PROT_READ) == 0) return false;
  return true;
}

bool is_armed(const Region& region) {
  if (region.engine != nullptr) return true;
  for (std::uintptr_t address = page_of(region.begin()); address < region.end(); address += kPageBytes)
    if (!find_page(address)->armed) return false;
  return true;
}

void resume_region(Region& region, void* argument) {
  const bool armed = region.engine != nullptr ? region.engine->watch(&region) == 0 : is_armed(region);
  const bool there = armed || is_there(region);
  if (there) tell_changes(region);
  region.paused_copy = nullptr;
  if (armed) return;
  end_region(&region, there ? Op::kCount : Op::kFreed);
  if (there) *static_cast<int*>(argument) = ENOMEM;
}

void unwatch_region(Region& region, void*) {
  if (region.engine != nullptr) region.engine->unwatch(&region);
}

}  // namespace

int memory_pause() {
  StoresHeldOff held;
  if (memory_state.paused) return EALREADY;
  bulk_windows_close(0, ~std::uintptr_t{0});
  if (!copy_regions()) return ENOMEM;
  memory_state.paused = true;
  PageRun run;
  for_each_armed_page(add_page<disarm_run>, &run);
  disarm_run(&run);
  for_every_region(unwatch_region, nullptr);
  return 0;
}

int memory_resume() {
  StoresHeldOff held;
  if (!memory_state.paused) return EALREADY;
  memory_state.paused = false;
  PageRun run;
  for_each_paused_page(add_page<arm_run>, &run);
  arm_run(&run);
  int error = 0;
  for_every_region(resume_region, &error);
  drop_copies();
  return error;
}

}  // namespace watcher
