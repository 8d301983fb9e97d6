// Compiling a host's source again, with the interpreter's own compiler.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/interpreter/compat.h"

namespace watcher::python {

inline constexpr long kOnlyAst = 0x400;  // PyCF_ONLY_AST

/// Our compilation repeats what the host's has warned about already, and calls a string constant: no warnings.
class NoWarnings {
 public:
  NoWarnings();
  ~NoWarnings();

 private:
  void changed() { Ref ignored(PyObject_CallMethod(module_.get(), "_filters_mutated", nullptr)); }

  Ref module_, filters_, filter_;
};

/// compile(source, filename, mode, flags, dont_inherit=True); a source text or a tree. Empty with an exception set.
Ref compile_source(PyObject* source, PyObject* filename, const char* mode, long flags);

/// code.replace(co_consts=constants). Empty with an exception set.
Ref with_constants(PyObject* code, PyObject* constants);

/// The flags that code was compiled with, as compile() takes them: those that our compilation needs as well.
long compile_flags(PyObject* code);

}  // namespace watcher::python
