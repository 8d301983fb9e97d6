#include "runtime/capture/region_set.h"

#include <asm/prctl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/alias_pages.h"
#include "runtime/capture/bulk_window.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/self_memory.h"

namespace watcher {
namespace {

// glibc's struct pthread lies at the thread pointer, static thread-local data right below it.
constexpr std::uintptr_t kThreadBlockBytes = 4096;

bool overlap(std::uintptr_t begin, std::uintptr_t end, std::uintptr_t other_begin, std::uintptr_t other_end) {
  return page_of(begin) < other_end && other_begin < page_of(end + kPageMask);
}

/// The main thread's stack shows by its name in the list of mappings; asking libc for it would read that whole list.
bool touches_own_stack(std::uintptr_t begin, std::uintptr_t end) {
  if (raw_syscall(SYS_gettid) == raw_syscall(SYS_getpid)) return false;
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return false;
  void* low = nullptr;
  std::size_t bytes = 0;
  pthread_attr_getstack(&attributes, &low, &bytes);
  pthread_attr_destroy(&attributes);
  const auto stack = reinterpret_cast<std::uintptr_t>(low);
  return overlap(begin, end, stack, stack + bytes);
}

bool touches_thread_block(std::uintptr_t begin, std::uintptr_t end) {
  std::uintptr_t thread = 0;
  raw_syscall(SYS_arch_prctl, ARCH_GET_FS, &thread);
  return overlap(begin, end, thread - kThreadBlockBytes, thread + kThreadBlockBytes);
}

bool touches_signal_stack(std::uintptr_t begin, std::uintptr_t end) {
  stack_t stack{};
  if (raw_syscall(SYS_sigaltstack, nullptr, &stack) != 0 || (stack.ss_flags & SS_DISABLE) != 0) return false;
  const auto low = reinterpret_cast<std::uintptr_t>(stack.ss_sp);
  return overlap(begin, end, low, low + stack.ss_size);
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

/// Pages [begin, end) of one mapping that are not armed yet.
int arm_run(std::uintptr_t begin, std::uintptr_t end, int protection, bool shared, bool ours) {
  const Engine* engine = ours ? memory_state.arena_engine : &inline_engine;
  std::ptrdiff_t alias = ours ? alias_distance() : 0;
  if (shared && !ours) alias = duplicate_shared(begin, end - begin);
  for (std::uintptr_t address = begin; address < end; address += kPageBytes) {
    Page& page = *find_page(address);
    page.protection = static_cast<std::uint8_t>(protection);
    page.engine = engine;
    page.alias = alias;
    page.armed = true;  // before the protection: whoever traps must find it
  }
  const int error = engine->arm(begin, end - begin, protection);
  if (error == 0) return 0;
  for (std::uintptr_t address = begin; address < end; address += kPageBytes) find_page(address)->armed = false;
  drop_duplicate(begin, end - begin, alias);
  return error;
}

bool is_armed(std::uintptr_t address) {
  return find_page(address)->armed;
}

int arm_pages(std::uintptr_t begin, std::uintptr_t end) {
  const bool ours = alias_pages_contain(begin);
  Mapping mapping;
  if (ours) mapping = {begin, end, PROT_READ | PROT_WRITE, true, false};
  for (std::uintptr_t address = begin; address < end;) {
    if (is_armed(address)) {
      address += kPageBytes;
      continue;
    }
    if (address >= mapping.end && !describe_mapping(address, &mapping)) return EINVAL;
    std::uintptr_t run = address;
    while (run < end && run < mapping.end && !is_armed(run)) run += kPageBytes;
    // Between two maps of different protection the kernel's word is the host's.
    if (const int error = arm_run(address, run, mapping.protection, mapping.shared, ours); error != 0) return error;
    address = run;
  }
  return 0;
}

void disarm_run(std::uintptr_t begin, std::uintptr_t end) {
  const Page& first = *find_page(begin);
  first.engine->disarm(begin, end - begin, first.protection);
  drop_duplicate(begin, end - begin, first.alias);
  for (std::uintptr_t address = begin; address < end; address += kPageBytes) {
    find_page(address)->armed = false;
    find_page(address)->alias = 0;
  }
}

bool is_idle(std::uintptr_t address) {
  const Page& page = *find_page(address);
  return page.armed && !page.watched();
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
  if (alias_pages_contain(begin)) return alias_pages_contain(end - 1) ? 0 : EINVAL;
  if (touches_own_stack(begin, end) || touches_thread_block(begin, end) || touches_signal_stack(begin, end))
    return EINVAL;
  for (std::uintptr_t address = page_of(begin); address < end;) {
    const Page* page = find_page(address);
    if (page != nullptr && page->armed) {
      address += kPageBytes;
      continue;
    }
    Mapping mapping;
    if (!describe_mapping(address, &mapping) || mapping.stack || (mapping.protection & PROT_WRITE) == 0) return EINVAL;
    address = mapping.end;
  }
  return 0;
}

int place_region(Region* region) {
  const std::uintptr_t begin = page_of(region->begin());
  const std::uintptr_t end = page_of(region->end() + kPageMask);
  bulk_windows_close(begin, end);
  std::uintptr_t address = begin;
  for (; address < end; address += kPageBytes) {
    Page* page = make_page(address);
    if (page == nullptr || !add_to_page(*page, region)) break;
  }
  const int error = address < end ? ENOMEM : arm_pages(begin, end);
  if (error == 0) {
    include_in_bounds(begin, end);
    return 0;
  }
  for (std::uintptr_t undo = begin; undo < address; undo += kPageBytes) remove_from_page(*find_page(undo), region);
  disarm_idle_pages(begin, address);
  return error;
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
