// Whose lists, dicts and sets must keep their exact type: those of objects that a package with modules in C made, for
// such code checks types (Cython's `list x` refuses any other).
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/interpreter/python_types.h"

namespace watcher::python {

/// Is the type, or a class that it inherits from, of a package with an extension module in it?
bool parts_stay_plain(PyObject* type);

}  // namespace watcher::python
