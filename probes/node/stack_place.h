// The line of the JavaScript code that called us, by V8's own stack trace: exact in every tier of its compilers,
// without any flag.
//
// Threads that run JavaScript, called from it.
#pragma once

#include <node/node_api.h>

#include "runtime/queue/event.h"

namespace watcher::node {

/// The innermost frame that is no script of ours; 0 when there is none. Not `certain`: the event says that the line may
/// be another one.
DictionaryRef calling_place(napi_env env, bool certain);

/// The binding's functions of this part.
void add_stack_place(napi_env env, napi_value binding);

}  // namespace watcher::node
