// The code objects of instrumented modules: which they are, and their qualified names, which code objects themselves
// know from 3.11 on.
//
// Threads: written under the GIL, read by any thread and in signal handlers.
#pragma once

#include <string>
#include <string_view>

#include "probes/python/interpreter/python_api.h"

namespace watcher::python {

void add_hooked_code(PyObject* code, const std::string& qualified);
/// Of an instrumented module? The GIL is held.
bool is_hooked_code(const PyObject* code);
/// Empty: not known.
std::string_view qualified_name_of(const PyObject* code);

}  // namespace watcher::python
