// The line of the JavaScript code that called us, by V8's own stack trace: exact in every tier of its compilers,
// without any flag.
//
// Threads that run JavaScript, called from it.
#pragma once

#include <node/node_api.h>

namespace watcher::node {

/// The binding's functions of this part.
void add_stack_place(napi_value binding);

}  // namespace watcher::node
