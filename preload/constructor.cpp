// The guest's one entry: decides whether this process is any of our business. Runs once, before main, in every process
// that inherits LD_PRELOAD; in nearly all of them the answer is no.
#include "preload/attached_runtime.h"
#include "preload/host_program.h"
#include "preload/real_functions.h"
#include "preload/runtime_loader.h"

namespace watcher {

__attribute__((constructor)) static void enter_host() {
  if (watching_forbidden()) return;
  ErrnoKeeper keeper;
  real::resolve_early();
  const watcher_host host = recognised_host();
  // a program may call watch() at any time, whether anybody asked to watch it or not
  if (host != kUnknownHost) load_runtime(host);
}

}  // namespace watcher
