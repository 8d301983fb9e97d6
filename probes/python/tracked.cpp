#include "probes/python/tracked.h"

#include "probes/python/compat.h"
#include "probes/python/leading.h"

namespace watcher::python {
namespace {

/// Dictionaries that `_pickle` refuses to be imported with unless their type is dict itself: names may be hooked, never
/// items.
struct PlainDict {
  const char* module;
  const char* name;
  const PyObject* dict;  // once it is there; it lives as long as its module
};
constinit PlainDict plain_dicts[] = {
    {"copyreg", "dispatch_table", nullptr},
    {"copyreg", "_extension_registry", nullptr},
    {"copyreg", "_inverted_registry", nullptr},
    {"copyreg", "_extension_cache", nullptr},
    {"_compat_pickle", "NAME_MAPPING", nullptr},
    {"_compat_pickle", "IMPORT_MAPPING", nullptr},
    {"_compat_pickle", "REVERSE_NAME_MAPPING", nullptr},
    {"_compat_pickle", "REVERSE_IMPORT_MAPPING", nullptr},
};

const PyObject* find_plain_dict(const PlainDict& wanted) {
  PyObject* module = PyDict_GetItemString(PyImport_GetModuleDict(), wanted.module);
  if (module == nullptr || module->type != &PyModule_Type) return nullptr;
  return PyDict_GetItemString(module_dict(module), wanted.name);
}

}  // namespace

bool must_stay_plain(const PyObject* value) {
  if (value->type != &PyDict_Type) return false;
  for (PlainDict& known : plain_dicts) {
    if (known.dict == nullptr) known.dict = find_plain_dict(known);
    if (known.dict == value) return true;
  }
  return false;
}

DictionaryRef track_value(PyObject* value, const Tracked& variable) {
  lead_bypasses();
  const DictionaryRef lent = track_lent_memory(value, variable);
  if (lent != 0) return lent;
  const DictionaryRef container = track_container(value, variable);
  return container != 0 ? container : track_buffer(value, variable);
}

void untrack_value(PyObject* value, DictionaryRef variable, const void* frame) {
  if (!untrack_container(value, variable, frame)) untrack_buffer(value, variable);
}

bool tracked_state(PyObject* value, DictionaryRef variable, const void* frame, Value* out) {
  return container_state(value, variable, frame, out) || buffer_state(value, variable, out);
}

}  // namespace watcher::python
