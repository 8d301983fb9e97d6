// Ends of the process that run no exit handler. The runtime hears of them, unless this is a vfork child: that one
// leaves its parent's memory, and the parent lives on in it.
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload/attached_runtime.h"
#include "preload/real_functions.h"

namespace watcher {
namespace {

void tell_runtime(int status) {
  if (auto* hook = attached(hooks.leaving); hook != nullptr && in_owning_process()) hook(status);
}

// Only reached when no real function could be found.
[[noreturn]] void end_process(int status) {
  for (;;) syscall(SYS_exit_group, status);
}

}  // namespace

WATCHER_INTERPOSER void _exit(int status) {
  tell_runtime(status);
  real::_exit(status);
  end_process(status);
}

WATCHER_INTERPOSER void _Exit(int status) noexcept {
  tell_runtime(status);
  real::_Exit(status);
  end_process(status);
}

}  // namespace watcher
