// Fork: stores are held off from before the copy of the arena until both processes are set up again.
//
// Between memory_before_fork and the after calls the forking thread alone may store to watched memory.
#include <sys/mman.h>

#include "runtime/capture/alias_pages.h"
#include "runtime/capture/code_slots.h"
#include "runtime/capture/engine_choice.h"
#include "runtime/capture/fault_signals.h"
#include "runtime/capture/kernel_buffers.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/store_context.h"

namespace watcher {
namespace {

constinit SignalMask mask_before_fork = 0;

/// The child's arena pages are new mappings. Memory in its place kept its protection across the fork.
void arm_again(std::uintptr_t address, Page& page, void*) {
  if (!alias_pages_contain(address)) return;
  page.engine = memory_state.arena_engine;
  page.alias = alias_distance();
  page.engine->arm(address, kPageBytes, page.protection);
}

/// What was a shared mapping's own duplicate is inherited like the mapping itself: nothing to do for it.
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
  alias_pages_before_fork(fault_signals_installed());
}

void memory_after_fork_parent() {
  if (memory_state.ring == nullptr) return;
  alias_pages_after_fork_parent();
  finish(stores_resume);
}

void memory_after_fork_child() {
  if (memory_state.ring == nullptr) return;
  alias_pages_after_fork_child();
  code_slots_after_fork_child();
  kernel_buffers_after_fork_child();
  renew_engine_after_fork();
  for_each_armed_page(arm_again, nullptr);
  finish(stores_resume_in_child);
}

}  // namespace watcher
