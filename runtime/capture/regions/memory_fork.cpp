// Fork: stores are held off from before the copy of the arena until both processes are set up again.
//
// Between memory_before_fork and the after calls the forking thread alone may store to watched memory.
#include <sys/mman.h>

#include "runtime/capture/bulk/bulk_event.h"
#include "runtime/capture/bulk/bulk_window.h"
#include "runtime/capture/engines/engine_choice.h"
#include "runtime/capture/kernel/kernel_buffers.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/alias_pages.h"
#include "runtime/capture/signals/fault_signals.h"
#include "runtime/capture/signals/signal_stacks.h"
#include "runtime/capture/store/code_slots.h"
#include "runtime/capture/store/store_context.h"
#include "runtime/capture/threads/thread_memory.h"

namespace watcher {
namespace {

constinit SignalMask mask_before_fork = 0;

/// Neighbouring pages are armed by one call.
struct ArmedRun {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  int protection = 0;
  const Engine* engine = nullptr;
};

void arm_run(ArmedRun* run) {
  const std::size_t bytes = run->end - run->begin;
  if (bytes != 0 && run->engine->arm(run->begin, bytes, run->protection) != 0 && run->engine != &inline_engine) {
    for (std::uintptr_t address = run->begin; address < run->end; address += kPageBytes)
      find_page(address)->engine = &inline_engine;
    inline_engine.arm(run->begin, bytes, run->protection);
  }
  *run = {};
}

/// The child's arena pages are new mappings, and its memory is not registered with the parent's userfaultfd. What was
/// protected by mprotect stays so across the fork, and a shared mapping's duplicate is inherited like the mapping
/// itself. False: nothing of that page has changed.
bool renew_page(std::uintptr_t address, Page* page) {
  const bool ours = alias_pages_contain(address);
  if (!ours && page->engine != &uffd_engine) return false;
  if (ours) page->alias = alias_distance();
  // Pages without a second mapping can only be committed to through /proc/self/mem, which userfaultfd does not allow.
  page->engine = page->alias != 0 ? memory_state.arena_engine : &inline_engine;
  return true;
}

void arm_again(std::uintptr_t address, Page& page, void* argument) {
  if (!renew_page(address, &page)) return;
  auto* run = static_cast<ArmedRun*>(argument);
  if (run->end != address || run->protection != page.protection || run->engine != page.engine) {
    arm_run(run);
    *run = {address, address, page.protection, page.engine};
  }
  run->end += kPageBytes;
}

void finish(void (*resume)()) {
  resume();
  set_signal_mask(mask_before_fork);
}

}  // namespace

void memory_before_fork() {
  if (memory_state.ring == nullptr) return;
  const SignalMask previous = exchange_signal_mask(kAsynchronousSignals);
  stores_hold_off();
  mask_before_fork = previous;
  note_forking_thread();
  bulk_windows_close(0, ~std::uintptr_t{0});
  alias_pages_before_fork(fault_signals_installed());
}

void memory_after_fork_parent() {
  if (memory_state.ring == nullptr) return;
  alias_pages_after_fork_parent();
  finish(stores_resume);
}

void memory_after_fork_child() {
  if (memory_state.ring == nullptr) return;
  note_forked_child();
  take_pages_from_helper();  // it opens windows also while stores are held off
  alias_pages_after_fork_child();
  code_slots_after_fork_child();
  kernel_buffers_after_fork_child();
  bulk_tables_after_fork_child();
  renew_engine_after_fork();
  ArmedRun run;
  for_each_armed_page(arm_again, &run);
  arm_run(&run);
  for_each_paused_page([](std::uintptr_t address, Page& page, void*) { renew_page(address, &page); }, nullptr);
  finish(stores_resume_in_child);
  signal_stacks_after_fork_child();
}

}  // namespace watcher
