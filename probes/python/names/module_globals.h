// Globals that change without a site of their own: star-imports, and `module.name = value` from other modules.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/names/names.h"
#include "probes/python/names/variables.h"

namespace watcher::python {

/// UTF-8 of a str; empty when it is none.
std::string text_of_name(PyObject* name);
/// The variable of a global when it is watched, else null.
Variable* watched_global(Namespace& space, const std::string& name);
Subject subject_of_global(const Namespace& space, const Variable& variable, const std::string& name,
                          DictionaryRef place);

/// "pkg.mod" for `from .mod import …` inside pkg; `level` counts the dots.
std::string absolute_module(const std::string& module, int level, PyObject* globals);

/// The hook of `from m import *`.
PyMethodDef* star_import_method();

/// Puts ours in the place of the module type's setattr slot. Once, when the first module is instrumented: lazy modules
/// and other subclasses made before keep the old slot.
void watch_module_attributes();

}  // namespace watcher::python
