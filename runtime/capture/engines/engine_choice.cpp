#include "runtime/capture/engines/engine_choice.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runtime/capture/handler/handler_request.h"
#include "runtime/capture/handler/kernel_window.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/store/store.h"

namespace watcher {
namespace {

constexpr std::size_t kReasonBytes = 160;
constinit char reason[kReasonBytes] = {};
constinit const Engine* for_regions = nullptr;
using TellRefusal = void (*)(const char* line);
constinit TellRefusal tell_refusal = nullptr;

void record_choice() {
  EventRing& ring = *memory_state.ring;
  const Engine* first = for_regions != nullptr ? for_regions : memory_state.arena_engine;
  ring.header()->engine = ring.dictionary().intern(first->name);
  ring.header()->engine_reason = ring.dictionary().intern(reason);
}

void use_inline(const char* why) {
  memory_state.arena_engine = &inline_engine;
  snprintf(reason, sizeof reason, "%s", why);
}

void try_uffd(bool asked) {
  memory_state.arena_engine = &uffd_engine;
  snprintf(reason, sizeof reason, "%s; private memory that stays in its place is watched inline",
           asked ? "asked for" : "a full-privilege userfaultfd is to be had");
  const int error = uffd_engine.start();
  if (error == 0) return;
  char why[kReasonBytes];
  snprintf(
      why, sizeof why, "no full-privilege userfaultfd: %s",
      error == ENOENT ? "/proc cannot be read, which tells the kernel's stores from the program's" : strerror(error));
  use_inline(why);
}

/// Neighbouring pages change hands by one call.
struct Run {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  int protection = 0;
};

void arm_inline(Run* run) {
  if (run->begin != run->end) inline_engine.arm(run->begin, run->end - run->begin, run->protection);
  *run = {};
}

void take_over(std::uintptr_t address, Page& page, void* argument) {
  if (page.engine != &uffd_engine) return;
  page.engine = &inline_engine;
  auto* run = static_cast<Run*>(argument);
  if (run->end != address || run->protection != page.protection) {
    arm_inline(run);
    *run = {address, address, page.protection};
  }
  run->end += kPageBytes;
}

/// Whatever it does not take is watched by its pages.
void try_region_engine(const Engine& engine) {
  use_inline("asked for");
  const int error = engine.start();
  for_regions = error == 0 ? &engine : nullptr;
  if (error == 0) return;
  char why[kReasonBytes];
  snprintf(why, sizeof why, "the engine %s cannot be used: %s", engine.name, strerror(error));
  use_inline(why);
}

const char* refusal_text(int error) {
  if (error == EINVAL) return "only 1, 2, 4 or 8 aligned bytes of fixed size fit a debug register";
  if (error == ENOSPC) return "there are no more debug registers";
  return error == EBUSY ? "its page is watched already" : strerror(error);
}

}  // namespace

const Engine* region_engine() {
  return for_regions;
}

void when_region_refused(void (*tell)(const char* line)) {
  tell_refusal = tell;
}

void memory_flush() {
  if (for_regions == &sampled_engine) sampled_engine_flush();
  if (memory_state.arena_engine == &uffd_engine) windows_close_all();
}

void note_refused_region(int error) {
  if (memory_state.ring->header()->regions_refused.fetch_add(1, std::memory_order_relaxed) != 0) return;
  snprintf(reason, sizeof reason, "asked for; some memory is watched inline: %s", refusal_text(error));
  record_choice();
  if (tell_refusal != nullptr) tell_refusal(reason);
}

void choose_engine(const char* wanted) {
  if (strcmp(wanted, "inline") == 0)
    use_inline("asked for");
  else if (strcmp(wanted, "hwbp") == 0)
    try_region_engine(hwbp_engine);
  else if (strcmp(wanted, "sampled") == 0)
    try_region_engine(sampled_engine);
  else
    try_uffd(strcmp(wanted, "uffd") == 0);
  record_choice();
}

void renew_engine_after_fork() {
  if (memory_state.arena_engine == &uffd_engine) try_uffd(false);
  if (for_regions != nullptr) try_region_engine(*for_regions);
  record_choice();
}

// What the handler had locked is released first: others wait for it, and stores cannot be held off meanwhile.
void fall_back_to_inline() {
  RingHeader& header = *memory_state.ring->header();
  header.handler_lost.store(1, std::memory_order_relaxed);
  handler_requests_end();
  take_pages_from_helper();
  release_contexts_of_helper();
  stores_hold_off();
  windows_forget_all();
  memory_state.arena_engine = &inline_engine;
  Run run;
  for_each_armed_page(take_over, &run);
  arm_inline(&run);
  EventRing& ring = *memory_state.ring;
  header.engine = ring.dictionary().intern(inline_engine.name);
  header.engine_reason = ring.dictionary().intern("the uffd engine's handler process was killed");
  header.handler_pid.store(0, std::memory_order_relaxed);
  stores_resume();
}

}  // namespace watcher
