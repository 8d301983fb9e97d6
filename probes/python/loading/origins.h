// What a code object was compiled from when that is no file: `-c`, standard input, the interactive prompt, exec(),
// IPython's cells. The audit event "compile" shows the text or the tree; the newest are kept until their code runs.
//
// Threads: the GIL is held.
#pragma once

#include <string_view>

#include "probes/python/interpreter/compat.h"

namespace watcher::python {

/// The audit event "compile": text, a tree, or None for what the parser reads from standard input.
void note_compile(PyObject* source, PyObject* filename);

struct Origin {
  Ref tree;  // a copy that may be rewritten
  Ref text;  // bytes or str; empty for what was compiled from a tree
  const char* mode = "exec";
};

/// False: unknown. Never leaves an exception. What is found compiles to exactly this code.
bool find_origin(PyObject* code, PyObject* filename, Origin* out);

}  // namespace watcher::python
