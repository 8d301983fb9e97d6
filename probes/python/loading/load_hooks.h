// Running a module instrumented without changing it: the audit event "exec" hands us the code object just before it
// runs; the transformed code takes its place for that one execution. Files, .pyc caches and importers see nothing.
//
// Threads: the GIL is held.
#pragma once

#include <string>

#include "probes/python/interpreter/python_api.h"

namespace watcher::python {

/// The audit event "exec". Never raises: what cannot be transformed runs as it is, and is logged.
void before_exec(PyObject* code);

/// Was code of that file seen before it ran, so that its names are hooked where they must be?
bool has_hooks(const std::string& file);

}  // namespace watcher::python
