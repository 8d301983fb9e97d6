#include "runtime/capture/engine_choice.h"

#include <stdio.h>
#include <string.h>

#include "runtime/capture/memory_state.h"

namespace watcher {
namespace {

constexpr std::size_t kReasonBytes = 160;
constinit char reason[kReasonBytes] = {};

void record_choice() {
  EventRing& ring = *memory_state.ring;
  ring.header()->engine = ring.dictionary().intern(memory_state.arena_engine->name);
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

}  // namespace

void choose_engine(const char* wanted) {
  if (strcmp(wanted, "uffd") == 0)
    try_uffd();
  else
    use_inline(strcmp(wanted, "inline") == 0 ? "asked for" : "needs no privilege and no thread in the host");
  record_choice();
}

void renew_engine_after_fork() {
  if (memory_state.arena_engine == &uffd_engine) try_uffd();
  record_choice();
}

}  // namespace watcher
