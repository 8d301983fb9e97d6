#include "probes/python/loading/compile.h"
#include "probes/python/interpreter/interned.h"

namespace watcher::python {

// The interpreter asks `warnings` where that is there: catch_warnings() gives it another list.
NoWarnings::NoWarnings() : module_(Ref::borrow(PyDict_GetItemString(loaded_modules(), "warnings"))) {
  filters_ = module_ ? Ref(PyObject_GetAttrString(module_.get(), "filters")) : Ref();
  PyErr_Clear();
  if (!filters_) module_ = Ref(PyImport_ImportModule("_warnings"));
  if (!filters_) filters_ = module_ ? Ref(PyObject_GetAttrString(module_.get(), "filters")) : Ref();
  Ref zero(PyLong_FromLong(0));
  Ref action(PyUnicode_FromString("ignore"));
  if (filters_ && zero && action)
    filter_ = Ref(PyTuple_Pack(5, action.get(), &_Py_NoneStruct, PyExc_Warning, &_Py_NoneStruct, zero.get()));
  if (filter_ && PyList_Insert(filters_.get(), 0, filter_.get()) == 0) changed();
  PyErr_Clear();
}

NoWarnings::~NoWarnings() {
  KeepException keep;
  for (ssize_t i = 0; filter_ && i < size_of(filters_.get()); ++i) {
    if (list_items(filters_.get())[i] != filter_.get()) continue;
    PySequence_DelItem(filters_.get(), i);
    changed();
    break;
  }
  PyErr_Clear();
}

Ref compile_source(PyObject* source, PyObject* filename, const char* mode, long flags) {
  PyObject* compile = PyDict_GetItemString(PyEval_GetBuiltins(), "compile");
  Ref how(PyUnicode_FromString(mode));
  Ref flag(PyLong_FromLong(flags));
  Ref inherit(PyLong_FromLong(1));  // dont_inherit
  if (compile == nullptr || !how || !flag || !inherit) return Ref();
  return Ref(PyObject_CallFunctionObjArgs(compile, source, filename, how.get(), flag.get(), inherit.get(), nullptr));
}

long compile_flags(PyObject* code) {
  constexpr int kSuspends = 0x20 | 0x80 | 0x200;  // a module is one only with PyCF_ALLOW_TOP_LEVEL_AWAIT
  constexpr long kTopLevelAwait = 0x2000;
  const long annotations = compat.minor == 8 ? 0x100000 : 0x1000000;
  const int flags = field<int>(code, compat.code_flags);
  return (flags & annotations) | ((flags & kSuspends) != 0 ? kTopLevelAwait : 0);
}

// From 3.12 on, replace() forgets which names are hidden: variables of comprehensions that run within a module's or a
// class's code. Whatever looks at such a frame's locals then (`import *` does) would delete the globals of those names.
Ref with_constants(PyObject* code, PyObject* constants) {
  Ref replace(PyObject_GetAttrString(code, "replace"));
  Ref arguments(PyTuple_New(0));
  Ref keywords(PyDict_New());
  if (!replace || !arguments || !keywords || PyDict_SetItemString(keywords.get(), "co_consts", constants) != 0)
    return Ref();
  Ref replaced(PyObject_Call(replace.get(), arguments.get(), keywords.get()));
  if (!replaced || compat.minor < 12) return replaced;
  const int names = compat.code_local_names, kinds = names + 8;
  PyObject* kept = field<PyObject*>(code, kinds);
  if (size_of(kept) != size_of(field<PyObject*>(replaced.get(), kinds))) return replaced;
  const Ref forgotten(field<PyObject*>(replaced.get(), kinds));
  field_ref<PyObject*>(replaced.get(), kinds) = Ref::borrow(kept).release();
  return replaced;
}

}  // namespace watcher::python
