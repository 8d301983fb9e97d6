// `from m import a, missing` that fails: which names it had bound by then. `from m import a as x, b as x`: what x was
// bound to first.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/interpreter/python_api.h"

namespace watcher::python {

/// SiteKind::kBound: called behind the statement, or in the handler around it. Gives what it had bound to the site's
/// name, or an object that says that it had not. Its argument, when the name was bound again since: (module,
/// attribute).
// The latter is read in the module's dictionary: `__getattr__` would run a second time.
PyMethodDef* bound_method();
bool is_nothing_bound(const PyObject* value);

}  // namespace watcher::python
