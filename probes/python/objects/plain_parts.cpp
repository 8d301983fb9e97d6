#include "probes/python/objects/plain_parts.h"

#include <string.h>

#include <string>
#include <unordered_map>

#include "probes/python/interpreter/compat.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/layout.h"
#include "probes/python/interpreter/python_api.h"

namespace watcher::python {
namespace {

constexpr int kTypeMro = 344, kTypeVersion = 384, kTupleItems = 24;

/// What is asked of strings only.
std::string_view text_of(PyObject* value) {
  ssize_t bytes = 0;
  const bool is_text = value != nullptr && value->type == &PyUnicode_Type;
  const char* text = is_text ? PyUnicode_AsUTF8AndSize(value, &bytes) : nullptr;
  if (is_text && text == nullptr) PyErr_Clear();
  return text != nullptr ? std::string_view(text, static_cast<std::size_t>(bytes)) : std::string_view();
}

std::string_view package_of(std::string_view module) {
  return module.substr(0, module.find('.'));
}

/// Where a class says that it comes from; a type of C has that in its name.
std::string_view package_of(const PyObject* type) {
  const std::string_view name = type_name(type);
  if (name.find('.') != name.npos) return package_of(name);
  PyObject* names = has_flag(type, kHeapType) ? field<PyObject*>(type, kTypeDict) : nullptr;
  return names != nullptr ? package_of(text_of(PyDict_GetItemString(names, "__module__"))) : std::string_view();
}

bool has_extension(std::string_view package) {
  PyObject *name, *module;
  for (ssize_t position = 0; PyDict_Next(loaded_modules(), &position, &name, &module);) {
    if (module->type != &PyModule_Type || package_of(text_of(name)) != package) continue;
    if (text_of(PyDict_GetItemString(module_dict(module), "__file__")).ends_with(".so")) return true;
  }
  return false;
}

/// Asked again only when there are other modules than last time.
bool is_compiled(std::string_view package) {
  struct Answer {
    ssize_t modules;
    bool compiled;
  };
  static auto* answers = new std::unordered_map<std::string, Answer>;  // process-lifetime; under the GIL
  const ssize_t modules = size_of(loaded_modules());
  Answer& answer = (*answers)[std::string(package)];
  if (!answer.compiled && answer.modules != modules) answer = {modules, has_extension(package)};
  return answer.compiled;
}

}  // namespace

static bool is_of_compiled_package(PyObject* type) {
  PyObject* ancestors = field<PyObject*>(type, kTypeMro);
  if (ancestors == nullptr) return false;
  auto* const* classes = &field_ref<PyObject*>(ancestors, kTupleItems);
  for (ssize_t i = 0; i < size_of(ancestors); ++i) {
    const std::string_view package = package_of(classes[i]);
    if (!package.empty() && package != "builtins" && is_compiled(package)) return true;
  }
  return false;
}

// Asked for each value that a watched name is bound to. A type's version is its own for ever; 0 is none.
bool parts_stay_plain(PyObject* type) {
  if (!has_flag(type, kHeapType) && strchr(type_name(type), '.') == nullptr) return false;  // built in
  struct Answer {
    const PyObject* type;
    std::uint32_t version;
    std::uint32_t modules;
    bool plain;
  };
  static constinit Answer answers[256]{};  // under the GIL
  Answer& known = answers[reinterpret_cast<std::uintptr_t>(type) / 64 % 256];
  const auto version = field<std::uint32_t>(type, kTypeVersion);
  const auto modules = static_cast<std::uint32_t>(size_of(loaded_modules()));
  if (known.type != type || known.version != version || known.modules != modules || version == 0)
    known = {type, version, modules, is_of_compiled_package(type)};
  return known.plain;
}

}  // namespace watcher::python
