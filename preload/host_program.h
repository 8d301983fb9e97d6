// Which program is this, and may it be watched? Answered without a system call, an allocation or a look-up of
// our own, because every process on the machine may be asked. Called by the constructor only.
#pragma once

#include "preload/runtime_hooks.h"

namespace watcher {

/// Neither runtime: no `watcher_host` has this value.
constexpr watcher_host kUnknownHost = static_cast<watcher_host>(0);

watcher_host recognised_host();

/// WATCHER_DISABLE=1, or a process with more privilege than its caller.
bool watching_forbidden();

}  // namespace watcher
