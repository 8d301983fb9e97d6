// `from m import a, missing` that fails: which names it had bound by then.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/python_api.h"

namespace watcher::python {

/// SiteKind::kBound: called in the handler around the statement. Gives what it had bound to the site's name, or an
/// object that says that it had not.
PyMethodDef* bound_method();
bool is_nothing_bound(const PyObject* value);

}  // namespace watcher::python
