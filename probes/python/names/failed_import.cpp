#include "probes/python/names/failed_import.h"

#include "probes/python/interpreter/compat.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/layout.h"
#include "probes/python/names/module_globals.h"

extern "C" {
void PyErr_GetExcInfo(PyObject** type, PyObject** value, PyObject** traceback);
PyObject* PyException_GetTraceback(PyObject* exception);
}

namespace watcher::python {
namespace {

/// Where the statement stopped, in bytes of its code; -1: not known.
ssize_t failed_at() {
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_GetExcInfo(&type, &value, &traceback);
  const Ref owned_type(type), owned_value(value), owned_traceback(traceback);
  const Ref own(value != nullptr && value != &_Py_NoneStruct ? PyException_GetTraceback(value) : nullptr);
  const Ref offset(own ? PyObject_GetAttrString(own.get(), "tb_lasti") : nullptr);
  return offset ? PyLong_AsLong(offset.get()) : -1;
}

// A name each: IMPORT_FROM, then the store. What stopped at a store may have stored or not.
int names_bound() {
  const unsigned char import_name = compat.minor >= 13 ? 75 : 108, import_from = compat.minor >= 13 ? 74 : 109;
  const ssize_t stopped = failed_at();
  const Ref code(PyObject_GetAttrString(code_of(current_frame()), "co_code"));
  if (!code || stopped < 0 || stopped >= size_of(code.get())) return 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(bytes_data(code.get()));
  int begun = 0;
  for (ssize_t at = stopped; at >= 0 && bytes[at] != import_name; at -= 2) begun += bytes[at] == import_from;
  return begun > 0 ? begun - 1 : 0;
}

PyObject* value_of(const Site& site, void* frame) {
  if (site.declared_global)
    return PyDict_GetItemString(field<PyObject*>(frame, compat.frame_globals), site.text.c_str());
  const std::int32_t index = site.cell_index >= 0 ? site.cell_index : site.local_index;
  if (index >= 0) {
    constexpr int kCellContent = 16;
    auto* value = field<PyObject*>(frame, compat.frame_values + index * 8);
    return value != nullptr && value->type == &PyCell_Type ? field<PyObject*>(value, kCellContent) : value;
  }
  PyObject* names = field<PyObject*>(frame, compat.frame_locals);  // a class body
  return names != nullptr && names->type == &PyDict_Type ? PyDict_GetItemString(names, site.text.c_str()) : nullptr;
}

PyObject* nothing() {
  static PyObject* const object = PyObject_CallObject(&PyBaseObject_Type, nullptr);  // process-lifetime
  return object;
}

PyObject* value_in_module(const Site& site, void* frame, PyObject* names) {
  auto* globals = field<PyObject*>(frame, compat.frame_globals);
  const std::string name = absolute_module(text_of_name(tuple_items(names)[0]), site.import_level, globals);
  PyObject* module = PyDict_GetItemString(loaded_modules(), name.c_str());
  if (module == nullptr || PyType_IsSubtype(module->type, &PyModule_Type) == 0) return nullptr;
  PyObject* attributes = module_dict(module);
  return attributes != nullptr ? PyDict_GetItemWithError(attributes, tuple_items(names)[1]) : nullptr;
}

PyObject* on_bound(PyObject* self, PyObject* const* args, ssize_t) {
  KeepException keep;
  const Site& site = *field<Site*>(self, 16);
  void* frame = current_frame();
  PyObject* value = nullptr;
  if (site.index < 0 || site.index < names_bound())
    value = args[0]->type == &PyTuple_Type ? value_in_module(site, frame, args[0]) : value_of(site, frame);
  if (value == nullptr) value = nothing();
  incref(value);
  return value;
}

PyMethodDef bound{"__watcher__", reinterpret_cast<void*>(on_bound), kMethFastcall, nullptr};

}  // namespace

PyMethodDef* bound_method() {
  return &bound;
}

bool is_nothing_bound(const PyObject* value) {
  return value == nothing();
}

}  // namespace watcher::python
