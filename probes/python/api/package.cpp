#include "probes/python/api/package.h"

#include <string>
#include <string_view>

#include "probes/python/api/watch_function.h"
#include "probes/python/context/frames.h"
#include "probes/python/events/emit.h"
#include "probes/python/interpreter/compat.h"

namespace watcher::python {
namespace {

constexpr int kModuleApi = 1013;

struct EmbeddedModule {
  std::string_view name;
  bool is_package;
  const char* source;
};

constexpr EmbeddedModule kModules[] = {
#include "package_modules.inc"
};

constinit PyObject* finder = nullptr;  // the module object that serves as finder and loader, owned for ever

const EmbeddedModule* embedded(PyObject* name) {
  ssize_t size = 0;
  const char* text = name->type == &PyUnicode_Type ? PyUnicode_AsUTF8AndSize(name, &size) : nullptr;
  if (text == nullptr) {
    PyErr_Clear();
    return nullptr;
  }
  for (const EmbeddedModule& module : kModules)
    if (module.name == std::string_view(text, static_cast<std::size_t>(size))) return &module;
  return nullptr;
}

const EmbeddedModule* embedded_or_raise(PyObject* name) {
  const EmbeddedModule* module = embedded(name);
  if (module == nullptr) PyErr_Format(PyExc_ImportError, "watcher has no module %R", name);
  return module;
}

/// What happens in its code is told of its callers.
bool is_own(const EmbeddedModule& module) {
  return module.name == "watcher" || module.name == "watcher._proxy";
}

std::string file_name(const EmbeddedModule& module) {
  std::string path = "<watcher>/";
  for (char c : module.name) path += c == '.' ? '/' : c;
  return path + (module.is_package ? "/__init__.py" : ".py");
}

PyObject* none() {
  return Ref::borrow(&_Py_NoneStruct).release();
}

PyObject* compile_module(const EmbeddedModule& module) {
  constexpr int kFileInput = 257;  // Py_file_input
  return Py_CompileString(module.source, file_name(module).c_str(), kFileInput);
}

// find_spec(name, path=None, target=None)
PyObject* find_spec(PyObject*, PyObject* const* args, ssize_t count, PyObject*) {
  const EmbeddedModule* module = count > 0 ? embedded(args[0]) : nullptr;
  if (module == nullptr) return none();
  Ref importlib(PyImport_ImportModule("_frozen_importlib"));
  Ref spec_class = importlib ? Ref(PyObject_GetAttrString(importlib.get(), "ModuleSpec")) : Ref();
  Ref arguments(PyTuple_Pack(2, args[0], finder));
  Ref keywords(PyDict_New());
  Ref origin(PyUnicode_FromString(file_name(*module).c_str()));
  Ref package(PyBool_FromLong(module->is_package));
  if (!spec_class || !arguments || !keywords || !origin ||
      PyDict_SetItemString(keywords.get(), "origin", origin.get()) != 0 ||
      PyDict_SetItemString(keywords.get(), "is_package", package.get()) != 0)
    return nullptr;
  return PyObject_Call(spec_class.get(), arguments.get(), keywords.get());
}

PyObject* create_module(PyObject*, PyObject*) {
  return none();
}

PyObject* exec_module(PyObject*, PyObject* module) {
  Ref name(PyObject_GetAttrString(module, "__name__"));
  const EmbeddedModule* entry = name ? embedded_or_raise(name.get()) : nullptr;
  if (entry == nullptr) return nullptr;
  PyObject* dictionary = PyModule_GetDict(module);
  if (!add_functions(dictionary, entry->name)) return nullptr;
  if (PyDict_SetItemString(dictionary, "__builtins__", PyEval_GetBuiltins()) != 0) return nullptr;
  Ref code(compile_module(*entry));
  if (code && is_own(*entry)) hide_frames_of(field<PyObject*>(code.get(), compat.code_file));
  Ref result = code ? Ref(PyEval_EvalCode(code.get(), dictionary, dictionary)) : Ref();
  return result ? none() : nullptr;
}

PyObject* get_code(PyObject*, PyObject* name) {
  const EmbeddedModule* module = embedded_or_raise(name);
  return module != nullptr ? compile_module(*module) : nullptr;
}

PyObject* get_source(PyObject*, PyObject* name) {
  const EmbeddedModule* module = embedded_or_raise(name);
  return module != nullptr ? PyUnicode_FromString(module->source) : nullptr;
}

PyObject* is_package(PyObject*, PyObject* name) {
  const EmbeddedModule* module = embedded_or_raise(name);
  return module != nullptr ? PyBool_FromLong(module->is_package) : nullptr;
}

// session_queue(): the output directory and how many events wait, for watcher.core.event_bridge
PyObject* session_queue(PyObject*, PyObject*) {
  const RingHeader* header = ring ? ring.header() : nullptr;
  Ref directory(header != nullptr ? PyUnicode_FromString(runtime->option("output")) : none());
  Ref waiting(PyLong_FromUnsignedLongLong(header != nullptr ? header->head.load() - header->tail.load() : 0));
  return directory && waiting ? PyTuple_Pack(2, directory.get(), waiting.get()) : nullptr;
}

PyMethodDef methods[] = {{"find_spec", reinterpret_cast<void*>(find_spec), kMethFastcall | kMethKeywords, nullptr},
                         {"create_module", reinterpret_cast<void*>(create_module), kMethO, nullptr},
                         {"exec_module", reinterpret_cast<void*>(exec_module), kMethO, nullptr},
                         {"get_code", reinterpret_cast<void*>(get_code), kMethO, nullptr},
                         {"get_source", reinterpret_cast<void*>(get_source), kMethO, nullptr},
                         {"is_package", reinterpret_cast<void*>(is_package), kMethO, nullptr},
                         {"session_queue", reinterpret_cast<void*>(session_queue), kMethNoArgs, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef finder_module{.object = {1, nullptr},
                          .init = nullptr,
                          .index = 0,
                          .copy = nullptr,
                          .name = "_watcher",
                          .doc = "Finds and loads the package that Watcher brings along.",
                          .size = -1,
                          .methods = methods,
                          .slots = nullptr,
                          .traverse = nullptr,
                          .clear = nullptr,
                          .free = nullptr};

}  // namespace

void offer_package() {
  KeepException keep;
  if (finder == nullptr) finder = PyModule_Create2(&finder_module, kModuleApi);
  PyObject* meta_path = PySys_GetObject("meta_path");
  if (finder != nullptr && meta_path != nullptr && meta_path->type == &PyList_Type) {
    bool present = false;
    for (ssize_t i = 0; i < size_of(meta_path); ++i) present = present || list_items(meta_path)[i] == finder;
    if (!present) PyList_Append(meta_path, finder);
  }
  PyErr_Clear();
}

}  // namespace watcher::python
