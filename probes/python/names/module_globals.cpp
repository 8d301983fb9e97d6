#include "probes/python/names/module_globals.h"

#include "probes/python/api/debugger.h"
#include "probes/python/context/frames.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/names/globals_dict.h"
#include "probes/python/names/variables.h"

namespace watcher::python {
std::string text_of_name(PyObject* name) {
  ssize_t size = 0;
  const char* text = name->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(name, &size) : nullptr;
  if (text == nullptr) {
    PyErr_Clear();
    return {};
  }
  return {text, static_cast<std::size_t>(size)};
}

Variable* watched_global(Namespace& space, const std::string& name) {
  const auto found = space.variables.find(name);
  if (found != space.variables.end()) return found->second.watched ? &found->second : nullptr;
  return space.rules->wants_global(name) ? &space.variable(name) : nullptr;
}

Subject subject_of_global(const Namespace& space, const Variable& variable, const std::string& name,
                          DictionaryRef place) {
  return {.variable = variable.variable != 0 ? variable.variable
                                             : intern_variable(name, space.rules->path(), Scope::kGlobal, nullptr),
          .place = place,
          .scope = Scope::kGlobal};
}

std::string absolute_module(const std::string& module, int level, PyObject* globals) {
  if (level == 0) return module;
  PyObject* package = PyDict_GetItemString(globals, "__package__");
  std::string base = package != nullptr ? text_of_name(package) : std::string();
  for (; level > 1; --level) base.resize(base.rfind('.') == base.npos ? 0 : base.rfind('.'));
  return module.empty() ? base : base + "." + module;
}

namespace {

using SetAttribute = int (*)(PyObject*, PyObject*, PyObject*);
constinit SetAttribute original_set_attribute = nullptr;

int set_attribute(PyObject* module, PyObject* name, PyObject* value) {
  PyObject* dictionary = module_dict(module);
  Namespace* space = dictionary != nullptr ? find_namespace(dictionary) : nullptr;
  const std::string text = space != nullptr ? text_of_name(name) : std::string();
  Variable* variable = space != nullptr ? watched_global(*space, text) : nullptr;
  if (variable == nullptr || !ensure_session()) return original_set_attribute(module, name, value);
  const bool was_bound = variable->handler == 0 || PyDict_GetItemString(dictionary, text.c_str()) != nullptr;
  expect_store(dictionary, name);
  const int result = original_set_attribute(module, name, value);
  expect_store(nullptr, nullptr);
  if (result != 0) return result;
  KeepException keep;
  if (!was_bound) variable->leave_handler();
  const Subject subject = subject_of_global(*space, *variable, text, place_here());
  if (value != nullptr)
    record_binding(subject, *variable, value, text, space->rules->path());
  else
    record_unbinding(subject, *variable);
  if ((attention & kBreaks) != 0 && break_asked()) enter_debugger_quietly();
  return result;
}

PyObject* on_star_import(PyObject* self, PyObject* const*, ssize_t) {
  Site& site = *field<Site*>(self, 16);
  incref(&_Py_NoneStruct);
  auto* globals = field<PyObject*>(current_frame(), compat.frame_globals);
  if (!ensure_session()) return &_Py_NoneStruct;
  KeepException keep;
  Namespace& space = namespace_of(globals, site.rules);
  PyObject* module =
      PyDict_GetItemString(loaded_modules(), absolute_module(site.text, site.import_level, globals).c_str());
  Ref exported = module != nullptr ? Ref(PyObject_GetAttrString(module, "__all__")) : Ref();
  PyErr_Clear();
  PyObject* names = module != nullptr && module->type == &PyModule_Type ? module_dict(module) : nullptr;
  if (names == nullptr) return &_Py_NoneStruct;
  const DictionaryRef place = intern_place(site.function, site.file, site.line);
  ssize_t position = 0;
  PyObject *key, *ignored;
  std::vector<std::string> bound;
  while (PyDict_Next(names, &position, &key, &ignored) != 0) {
    const std::string name = text_of_name(key);
    const bool listed = exported ? PySequence_Contains(exported.get(), key) == 1 : !name.empty() && name[0] != '_';
    if (listed && watched_global(space, name) != nullptr) bound.push_back(name);
  }
  for (const std::string& name : bound) {
    Variable& variable = space.variable(name);
    PyObject* value = PyDict_GetItemString(globals, name.c_str());
    if (variable.handler != 0) variable.leave_handler();  // such an import does not stand in the handler as a rule
    if (value != nullptr)
      record_binding(subject_of_global(space, variable, name, place), variable, value, name, space.rules->path());
  }
  return &_Py_NoneStruct;
}

// `super().__setattr__(…)` in a module subclass: object's own wrapper refuses a type whose slot is another function's.
// So the slot gets wrappers of its own, as any type with such a slot has; PyModule_Type's dictionary is behind its
// `__dict__`.
void add_wrappers(void* slot) {
  constexpr int kProxied = 16, kWrapperBase = 40;  // mappingproxy.mapping, PyWrapperDescrObject.d_base
  const Ref proxy(PyObject_GetAttrString(&PyModule_Type, "__dict__"));
  for (const char* name : {"__setattr__", "__delattr__"}) {
    const Ref inherited(PyObject_GetAttrString(&PyBaseObject_Type, name));
    const Ref wrapper(
        inherited && proxy ? PyDescr_NewWrapper(&PyModule_Type, field(inherited.get(), kWrapperBase), slot) : nullptr);
    if (wrapper) PyDict_SetItemString(field<PyObject*>(proxy.get(), kProxied), name, wrapper.get());
  }
  PyErr_Clear();
  PyType_Modified(&PyModule_Type);
}

PyMethodDef star_method{"__watcher__", reinterpret_cast<void*>(on_star_import), kMethFastcall, nullptr};

}  // namespace

PyMethodDef* star_import_method() {
  return &star_method;
}

void watch_module_attributes() {
  if (original_set_attribute != nullptr) return;
  auto& slot = field_ref<SetAttribute>(&PyModule_Type, kTypeSetAttr);
  original_set_attribute = slot;
  slot = set_attribute;
  KeepException keep;
  add_wrappers(reinterpret_cast<void*>(set_attribute));
}

}  // namespace watcher::python
