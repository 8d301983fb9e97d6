// Events of objects' changes, told by their traps.
//
// Threads that run JavaScript, outside signal handlers.
#pragma once

#include "probes/node/addon.h"

namespace watcher::node {

/// The binding's functions of this part.
void add_records(napi_env env, napi_value binding);

}  // namespace watcher::node
