// The source text of a module, by the file name in its code object; and whether a code object really comes from there.
//
// Threads: the GIL is held.
#pragma once

#include <string>

#include "probes/python/interpreter/compat.h"

namespace watcher::python {

/// A bytes object with the file's content: from the file itself, or from the zip archive it lies in. Empty: not to be
/// had (no exception is left; a module without source runs as it is).
Ref read_source(const std::string& path);

/// Was `code` made from the source that `compiled`, with its hooks' markers, was made from? A program may give any code
/// the name of a file, and a file may have changed since. Names, variables, constants and inner code are compared, not
/// instructions: those differ between an instrumented and a plain compilation, and a .pyc may come from another patch
/// release.
bool made_from_same_source(PyObject* code, PyObject* compiled);

}  // namespace watcher::python
