// Globals that change without a hook and without the module's setattr: `globals()["x"] = 1`, exec() in a module's
// namespace, C code. Dictionary watchers tell from 3.12 on, as it happens; before, the namespace is compared with what
// its variables held last, at a hook behind such a statement and when a hooked function is entered: `exact` is false
// then.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/names/names.h"
#include "probes/python/names/variables.h"

namespace watcher::python {

/// From now on changes of that module's globals are told.
void watch_dictionary(PyObject* globals);

/// The store under way is told by its own code.
void expect_store(const PyObject* globals, const PyObject* name);

/// Up to 3.11: tells what changed behind our back.
void check_dictionary(PyObject* globals, DictionaryRef place);

/// The hook behind a statement that may reach into its module's namespace.
PyMethodDef* check_method();

/// A module without source: its globals are watched, by their dictionary alone.
void watch_globals_of(PyObject* code, const RuleSet& rules);

}  // namespace watcher::python
