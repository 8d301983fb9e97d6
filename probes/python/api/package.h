// `from watcher import watch` with nothing installed: a finder and loader in C behind all others on sys.meta_path, so
// that an application's own package of that name wins. Put there when something named `watcher` is first imported.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/interpreter/python_api.h"

namespace watcher::python {

/// The audit events "import" (of `watcher` or below) and "cpython.run_module". Never raises.
void offer_package();

}  // namespace watcher::python
