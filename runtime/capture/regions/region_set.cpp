#include "runtime/capture/regions/region_set.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/bulk/bulk_window.h"
#include "runtime/capture/handler/kernel_window.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/alias_pages.h"
#include "runtime/capture/regions/self_memory.h"
#include "runtime/capture/threads/thread_memory.h"

namespace watcher {
namespace {

bool touches_signal_stack(std::uintptr_t begin, std::uintptr_t end) {
  stack_t stack{};
  if (raw_syscall(SYS_sigaltstack, nullptr, &stack) != 0 || (stack.ss_flags & SS_DISABLE) != 0) return false;
  const auto low = reinterpret_cast<std::uintptr_t>(stack.ss_sp);
  return page_of(begin) < low + stack.ss_size && low < page_of(end + kPageMask);
}

/// A second mapping of shared pages, of which the kernel allows any number; 0 for private memory.
std::ptrdiff_t duplicate_shared(std::uintptr_t begin, std::size_t bytes) {
  const long copy = raw_syscall(SYS_mremap, begin, 0, bytes, MREMAP_MAYMOVE);
  if (copy < 0 && copy > -4096) return 0;
  return static_cast<std::ptrdiff_t>(copy) - static_cast<std::ptrdiff_t>(begin);
}

void drop_duplicate(std::uintptr_t begin, std::size_t bytes, std::ptrdiff_t alias) {
  if (alias != 0 && !alias_pages_contain(begin))
    raw_syscall(SYS_munmap, begin + static_cast<std::uintptr_t>(alias), bytes);
}

int arm_by(const Engine* engine, std::uintptr_t begin, std::uintptr_t end, int protection, std::ptrdiff_t alias) {
  for (std::uintptr_t address = begin; address < end; address += kPageBytes) {
    Page& page = *find_page(address);
    page.protection = static_cast<std::uint8_t>(protection);
    page.engine = engine;
    page.alias = alias;
    page.paused = memory_state.paused;
    page.armed = !memory_state.paused;  // before the protection: whoever traps must find it
  }
  return memory_state.paused ? 0 : engine->arm(begin, end - begin, protection);
}

/// Pages [begin, end) of one mapping that are not armed yet. Only stores to pages that are mapped twice can be
/// committed while the arena's engine protects them, and it takes none of a file on disk.
int arm_run(std::uintptr_t begin, std::uintptr_t end, int protection, bool shared, bool ours) {
  std::ptrdiff_t alias = ours ? alias_distance() : 0;
  if (shared && !ours) alias = duplicate_shared(begin, end - begin);
  const Engine* engine = alias != 0 ? memory_state.arena_engine : &inline_engine;
  int error = arm_by(engine, begin, end, protection, alias);
  if (error != 0 && !ours && engine != &inline_engine) error = arm_by(&inline_engine, begin, end, protection, alias);
  if (error == 0) return 0;
  for (std::uintptr_t address = begin; address < end; address += kPageBytes) find_page(address)->armed = false;
  drop_duplicate(begin, end - begin, alias);
  return error;
}

bool is_placed(std::uintptr_t address) {
  return find_page(address)->placed();
}

int arm_pages(std::uintptr_t begin, std::uintptr_t end) {
  const bool ours = alias_pages_contain(begin);
  Mapping mapping;
  if (ours) mapping = {begin, end, PROT_READ | PROT_WRITE, true, false};
  for (std::uintptr_t address = begin; address < end;) {
    if (is_placed(address)) {
      address += kPageBytes;
      continue;
    }
    if (address >= mapping.end && !describe_mapping(address, &mapping)) return EINVAL;
    std::uintptr_t run = address;
    while (run < end && run < mapping.end && !is_placed(run)) run += kPageBytes;
    // Between two maps of different protection the kernel's word is the host's.
    if (const int error = arm_run(address, run, mapping.protection, mapping.shared, ours); error != 0) return error;
    address = run;
  }
  return 0;
}

void disarm_run(std::uintptr_t begin, std::uintptr_t end) {
  const Page& first = *find_page(begin);
  if (first.armed) first.engine->disarm(begin, end - begin, first.protection);
  drop_duplicate(begin, end - begin, first.alias);
  for (std::uintptr_t address = begin; address < end; address += kPageBytes) {
    Page& page = *find_page(address);
    window_forget(&page);
    page.armed = page.paused = false;
    page.alias = 0;
  }
}

/// What a debug register watches on these pages: a store that is carried out for the host would not trap it.
void take_over_words(std::uintptr_t begin, std::uintptr_t end) {
  for (std::uintptr_t address = begin; address < end; address += kPageBytes)
    for_each_region(*find_page(address), [](Region& region) {
      if (region.engine != &hwbp_engine) return;
      region.engine->unwatch(&region);
      region.engine = nullptr;
    });
}

bool is_idle(std::uintptr_t address) {
  const Page& page = *find_page(address);
  return page.placed() && !page.watched();
}

bool alike(std::uintptr_t left, std::uintptr_t right) {
  const Page& a = *find_page(left);
  const Page& b = *find_page(right);
  return a.engine == b.engine && a.protection == b.protection && a.alias == b.alias;
}

void disarm_idle_pages(std::uintptr_t begin, std::uintptr_t end) {
  for (std::uintptr_t address = begin; address < end;) {
    std::uintptr_t run = address;
    while (run < end && is_idle(run) && alike(run, address)) run += kPageBytes;
    if (run > address) disarm_run(address, run);
    address = run > address ? run : address + kPageBytes;
  }
}

}  // namespace

int check_watchable(std::uintptr_t begin, std::uintptr_t end) {
  if (alias_pages_contain(begin)) return alias_pages_contain(end - 1) ? 0 : EFAULT;
  if (touches_own_thread(begin, end) || touches_signal_stack(begin, end)) return EBUSY;
  for (std::uintptr_t address = page_of(begin); address < end;) {
    const Page* page = find_page(address);
    if (page != nullptr && page->placed()) {
      address += kPageBytes;
      continue;
    }
    Mapping mapping;
    if (!describe_mapping(address, &mapping) || (mapping.protection & PROT_WRITE) == 0) return EFAULT;
    if (mapping.stack || touches_any_thread(begin, end, mapping)) return EBUSY;
    address = mapping.end;
  }
  return 0;
}

int list_region(Region* region) {
  const std::uintptr_t begin = page_of(region->begin());
  const std::uintptr_t end = page_of(region->end() + kPageMask);
  bulk_windows_close(begin, end);
  for (std::uintptr_t address = begin; address < end; address += kPageBytes) {
    Page* page = make_page(address);
    if (page != nullptr && add_to_page(*page, region)) continue;
    for (std::uintptr_t undo = begin; undo < address; undo += kPageBytes) remove_from_page(*find_page(undo), region);
    return ENOMEM;
  }
  include_in_bounds(begin, end);
  return 0;
}

int place_region(Region* region) {
  const int error = list_region(region);
  if (error != 0) return error;
  const std::uintptr_t begin = page_of(region->begin());
  const std::uintptr_t end = page_of(region->end() + kPageMask);
  const int refusal = arm_pages(begin, end);
  if (refusal == 0)
    take_over_words(begin, end);
  else
    displace_region(region);
  return refusal;
}

void displace_region(Region* region) {
  const std::uintptr_t begin = page_of(region->begin());
  const std::uintptr_t end = page_of(region->end() + kPageMask);
  bulk_windows_close(begin, end);
  for (std::uintptr_t address = begin; address < end; address += kPageBytes)
    remove_from_page(*find_page(address), region);
  disarm_idle_pages(begin, end);
}

Region* region_within(std::uintptr_t begin, std::uintptr_t end) {
  for (std::uintptr_t address = page_of(begin); address < end; address += kPageBytes) {
    const Page* page = find_page(address);
    if (page != nullptr && page->first != nullptr) return page->first;
  }
  return nullptr;
}

}  // namespace watcher
