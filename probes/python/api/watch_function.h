// The functions scripts call: watch(), unwatch(), pause(), resume(), stats(), and what the embedded package builds on.
//
// Threads: the GIL is held.
#pragma once

#include <string_view>

#include "probes/python/interpreter/python_api.h"

namespace watcher::python {

/// Puts those that an embedded module has into its namespace. False: an exception is set.
bool add_functions(PyObject* dictionary, std::string_view module);

}  // namespace watcher::python
