// Executing one code object in place of another, once: a frame evaluation hook that lives for that one call (3.8–3.11),
// a function watcher that lives until the function for it is created (3.12+). A permanent hook would cost every call.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/interpreter/python_api.h"

namespace watcher::python {

/// The next execution of `code` as a module body runs `replacement`. False with an exception set when it cannot be
/// armed.
bool run_instead(PyObject* code, PyObject* replacement);

/// The next execution of `code` as a module body is told with the dictionary it runs in.
bool tell_globals(PyObject* code, void (*started)(PyObject* globals));

/// The next module body that runs is shown before it does: the interpreter runs a .pyc file without an audit event.
bool show_next_module(void (*show)(PyObject* code));

}  // namespace watcher::python
