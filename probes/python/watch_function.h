// watch(value, name=None, *, …): the function scripts call.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/python_api.h"

namespace watcher::python {

/// A new builtin function `watch`; null with an exception set.
PyObject* make_watch_function();

}  // namespace watcher::python
