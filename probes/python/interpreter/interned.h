// Names that are looked up again and again: made and hashed once.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/interpreter/compat.h"
#include "probes/python/interpreter/python_api.h"

namespace watcher::python {

/// sys.modules, for borrowing. The interpreter aborts when it is asked after it has taken them apart, while the last
/// `__del__` run: an empty one then.
PyObject* loaded_modules();

class Interned {
 public:
  constexpr explicit Interned(const char* text) : text_(text) {}

  /// What a dictionary with text keys has under the name; borrowed, null: nothing.
  PyObject* in(PyObject* dict) {
    if (object_ == nullptr) object_ = PyUnicode_InternFromString(text_);  // process-lifetime
    return object_ != nullptr ? PyDict_GetItemWithError(dict, object_) : nullptr;
  }
  /// The dictionary of an imported module; null: not imported, or no ordinary one.
  PyObject* as_module() {
    PyObject* module = in(loaded_modules());
    return module != nullptr && module->type == &PyModule_Type ? module_dict(module) : nullptr;
  }

 private:
  const char* text_;
  PyObject* object_ = nullptr;
};

}  // namespace watcher::python
