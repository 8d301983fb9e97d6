// Watched array buffers: which memory belongs to which variable, and until when.
#pragma once

#include <node/node_api.h>

namespace watcher::node {

/// Adds learning(bytes), learnt(), ownPages(flag), isOurs(bytes), watchMemory(…), unwatchMemory(id), pause() and
/// resume() to the binding.
void add_memory_functions(napi_env env, napi_value binding);

}  // namespace watcher::node
