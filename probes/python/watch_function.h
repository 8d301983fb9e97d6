// The functions scripts call: watch(), unwatch(), pause(), resume(), stats(), and what the embedded package builds on.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/python_api.h"

namespace watcher::python {

/// Puts them into the package's namespace. False: an exception is set.
bool add_functions(PyObject* dictionary);

}  // namespace watcher::python
