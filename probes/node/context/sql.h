// The SQL statement and the asynchronous task under which a thread's events happen.
//
// Threads that run JavaScript, outside signal handlers.
#pragma once

#include <node/node_api.h>

namespace watcher::node {

/// The binding's functions of this part.
void add_sql(napi_env env, napi_value binding);

}  // namespace watcher::node
