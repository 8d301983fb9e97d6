#include "runtime/capture/engine_choice.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runtime/capture/memory_state.h"

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

void try_uffd() {
  memory_state.arena_engine = &uffd_engine;
  snprintf(reason, sizeof reason, "asked for; memory that stays in its place is watched inline");
  const int error = uffd_engine.start();
  if (error == 0) return;
  char why[kReasonBytes];
  snprintf(why, sizeof why, "no full-privilege userfaultfd: %s", strerror(error));
  use_inline(why);
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
}

void note_refused_region(int error) {
  if (memory_state.ring->header()->regions_refused.fetch_add(1, std::memory_order_relaxed) != 0) return;
  snprintf(reason, sizeof reason, "asked for; some memory is watched inline: %s", refusal_text(error));
  record_choice();
  if (tell_refusal != nullptr) tell_refusal(reason);
}

void choose_engine(const char* wanted) {
  if (strcmp(wanted, "uffd") == 0)
    try_uffd();
  else if (strcmp(wanted, "hwbp") == 0)
    try_region_engine(hwbp_engine);
  else if (strcmp(wanted, "sampled") == 0)
    try_region_engine(sampled_engine);
  else
    use_inline(strcmp(wanted, "inline") == 0 ? "asked for" : "needs no privilege and no thread in the host");
  record_choice();
}

void renew_engine_after_fork() {
  if (memory_state.arena_engine == &uffd_engine) try_uffd();
  if (for_regions != nullptr) try_region_engine(*for_regions);
  record_choice();
}

}  // namespace watcher
