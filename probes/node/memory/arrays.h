// Watched array buffers: which memory belongs to which variable, and until when.
#pragma once

#include <node/node_api.h>

namespace watcher::node {

/// Adds learning(bytes), learnt(), ownPages(flag), isOurs(bytes), watchMemory(…), unwatchMemory(id), pause() and
/// resume(), storeMemory(…) to the binding.
void add_memory_functions(napi_env env, napi_value binding);

/// Does the value, a view or an array buffer, lie where memory is watched, or may it?
bool may_be_watched(napi_env env, napi_value value);

}  // namespace watcher::node
