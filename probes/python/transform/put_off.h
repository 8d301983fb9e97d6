// Values between the two statements that an unpacking became (transform_unpacking.cpp).
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/interpreter/python_api.h"

namespace watcher::python {

/// Keeps a value for the current frame. `is_first`: of its statement. False: a Python exception is set.
bool put_off(bool is_first, PyObject* value);
/// The function that gives them to the next statement, as a tuple.
PyMethodDef* take_up_method();

}  // namespace watcher::python
