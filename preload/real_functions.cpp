#include "preload/real_functions.h"

#include <dlfcn.h>

namespace watcher {
namespace {

// dlsym may free an old error message, and an allocator behind us may call dlsym: the inner call then finds nothing and
// gives up (a free leaks its block) instead of recursing.
__attribute__((tls_model("initial-exec"))) constinit thread_local bool resolving = false;

}  // namespace

void* NextSymbol::resolve() {
  if (resolving) return nullptr;
  const int saved_errno = errno;
  resolving = true;
  void* found = dlsym(RTLD_NEXT, name_);
  resolving = false;
  errno = saved_errno;
  __atomic_store_n(&address_, found, __ATOMIC_RELAXED);
  return found;
}

namespace real {

#define WATCHER_DEFINE(name) constinit RealFunction<decltype(::name)> name{#name};
WATCHER_FUNCTIONS_RESOLVED_EARLY(WATCHER_DEFINE)
WATCHER_FUNCTIONS_RESOLVED_LATE(WATCHER_DEFINE)
WATCHER_RARE_FUNCTIONS(WATCHER_DEFINE)
#undef WATCHER_DEFINE

void resolve_early() {
#define WATCHER_RESOLVE(name) name.address();
  WATCHER_FUNCTIONS_RESOLVED_EARLY(WATCHER_RESOLVE)
#undef WATCHER_RESOLVE
}

}  // namespace real
}  // namespace watcher
