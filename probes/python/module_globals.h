// Globals that change without a site of their own: star-imports, and `module.name = value` from other modules.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/names.h"

namespace watcher::python {

/// The hook of `from m import *`.
PyMethodDef* star_import_method();

/// Puts ours in the place of the module type's setattr slot. Once, when the first module is instrumented: lazy modules
/// and other subclasses made before keep the old slot.
void watch_module_attributes();

}  // namespace watcher::python
