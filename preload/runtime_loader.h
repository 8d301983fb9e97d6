// Brings the runtime into a recognised host. Called by the constructor only, before main.
#pragma once

#include "preload/runtime_hooks.h"

namespace watcher {

/// Finds libwatcher_runtime.so beside the shim and hands it hooks and real functions. Whatever goes wrong leaves the
/// host as it was; the reason is printed when WATCHER_LOG_LEVEL is DEBUG.
void load_runtime(watcher_host host);

}  // namespace watcher
