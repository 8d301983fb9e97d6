// Events of transformed code: stores to bindings, each by the number of the place in the source that stores.
//
// Threads that run JavaScript, outside signal handlers.
#pragma once

#include "probes/node/addon.h"

namespace watcher::node {

/// The binding's functions of this part.
void add_stores(napi_env env, napi_value binding);

}  // namespace watcher::node
