// Functions of the host's with ours in front, unseen: a native function stands in their place, which no stack trace
// shows, and what they throw keeps the position where it was thrown.
//
// Threads that run JavaScript.
#pragma once

#include <node/node_api.h>

namespace watcher::node {

/// The binding's functions of this part.
void add_around(napi_env env, napi_value binding);

}  // namespace watcher::node
