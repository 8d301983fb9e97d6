// Fork: stores are held off from before the copy of the arena until both processes are set up again.
//
// Between memory_before_fork and the after calls the forking thread alone may store to watched memory.
#include <sys/mman.h>

#include "runtime/capture/alias_pages.h"
#include "runtime/capture/bulk_event.h"
#include "runtime/capture/bulk_window.h"
#include "runtime/capture/code_slots.h"
#include "runtime/capture/engine_choice.h"
#include "runtime/capture/fault_signals.h"
#include "runtime/capture/kernel_buffers.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/signal_stacks.h"
#include "runtime/capture/store_context.h"
#include "runtime/capture/thread_memory.h"

namespace watcher {
namespace {

constinit SignalMask mask_before_fork = 0;

/// Neighbouring pages are armed by one call.
struct ArmedRun {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  const Engine* engine = nullptr;
  int protection = 0;
};

/// Pages without a second mapping can only be committed to through /proc/self/mem, which userfaultfd does not allow.
const Engine* engine_for(std::ptrdiff_t alias) {
  return alias != 0 ? memory_state.arena_engine : &inline_engine;
}

void arm_run(ArmedRun* run) {
  if (run->begin != run->end) run->engine->arm(run->begin, run->end - run->begin, run->protection);
  *run = {};
}

/// The child's arena pages are new mappings, and its memory is not registered with the parent's userfaultfd. What was
/// protected by mprotect stays so across the fork, and a shared mapping's duplicate is inherited like the mapping
/// itself.
void arm_again(std::uintptr_t address, Page& page, void* argument) {
  const bool ours = alias_pages_contain(address);
  if (!ours && page.engine != &uffd_engine) return;
  auto* run = static_cast<ArmedRun*>(argument);
  if (ours) page.alias = alias_distance();
  page.engine = engine_for(page.alias);
  if (run->end != address || run->engine != page.engine || run->protection != page.protection) {
    arm_run(run);
    *run = {address, address, page.engine, page.protection};
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
  alias_pages_after_fork_child();
  code_slots_after_fork_child();
  kernel_buffers_after_fork_child();
  bulk_tables_after_fork_child();
  renew_engine_after_fork();
  ArmedRun run;
  for_each_armed_page(arm_again, &run);
  arm_run(&run);
  finish(stores_resume_in_child);
  signal_stacks_after_fork_child();
}

}  // namespace watcher
