// Running a module instrumented without changing it: the audit event "exec" hands us the code object just before it
// runs; the transformed code takes its place for that one execution. Files, .pyc caches and importers see nothing.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/python_api.h"

namespace watcher::python {

/// The audit event "exec". Never raises: what cannot be transformed runs as it is, and is logged.
void before_exec(PyObject* code);

}  // namespace watcher::python
