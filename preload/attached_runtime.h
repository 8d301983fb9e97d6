// The runtime as the interposers see it: its hooks, all null until one attaches. Any thread, any context.
#pragma once

#include <errno.h>
#include <unistd.h>

#include "preload/runtime_hooks.h"

// For definitions that stand in exports.map.
#define WATCHER_INTERPOSER extern "C" __attribute__((visibility("default")))

namespace watcher {

extern struct watcher_runtime_hooks hooks;

/// Null almost always, so that a forwarded call costs one load and one predicted branch.
/// Acquire: pairs with the runtime's release store of the hook, after everything the hook needs.
template <class Hook>
inline Hook* attached(Hook* const& slot) {
  Hook* hook = __atomic_load_n(&slot, __ATOMIC_ACQUIRE);
  return __builtin_expect(hook != nullptr, 0) ? hook : nullptr;
}

/// False in a vfork child: it runs in its parent's memory, where the runtime's state describes the parent.
inline bool in_owning_process() {
  return __atomic_load_n(&hooks.owner, __ATOMIC_RELAXED) == getpid();
}

/// Gives errno back as it was: the host must not see what a hook did to it.
class ErrnoKeeper {
 public:
  ErrnoKeeper() : saved_(errno) {}
  ~ErrnoKeeper() { errno = saved_; }
  ErrnoKeeper(const ErrnoKeeper&) = delete;
  ErrnoKeeper& operator=(const ErrnoKeeper&) = delete;

 private:
  int saved_;
};

}  // namespace watcher
