#include "probes/python/objects/tracked.h"

#include "probes/python/interpreter/compat.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/leading.h"

extern "C" PyObject* PyThreadState_GetDict(void);

namespace watcher::python {
namespace {

/// Dictionaries that `_pickle` refuses to be imported with unless their type is dict itself: names may be hooked, never
/// items.
struct PlainDict {
  Interned name;
  const PyObject* dict = nullptr;  // once it is there; it lives as long as its module
};
struct PlainModule {
  Interned name;
  PlainDict dicts[4];
};
constinit PlainModule plain_modules[] = {
    {Interned("copyreg"),
     {{Interned("dispatch_table")},
      {Interned("_extension_registry")},
      {Interned("_inverted_registry")},
      {Interned("_extension_cache")}}},
    {Interned("_compat_pickle"),
     {{Interned("NAME_MAPPING")},
      {Interned("IMPORT_MAPPING")},
      {Interned("REVERSE_NAME_MAPPING")},
      {Interned("REVERSE_IMPORT_MAPPING")}}},
};

bool holds(PlainModule& module, const PyObject* value) {
  PyObject* names = nullptr;
  for (PlainDict& known : module.dicts) {
    if (known.dict == nullptr && names == nullptr && (names = module.name.as_module()) == nullptr) return false;
    if (known.dict == nullptr) known.dict = known.name.in(names);
    if (known.dict == value) return true;
  }
  return false;
}

/// How numpy up to 1.26 is to treat errors in this thread: it takes only a list that is one exactly.
bool is_numpys_setting(const PyObject* value) {
  static Interned name("UFUNC_PYVALS");
  if (value->type != &PyList_Type || size_of(value) != 3) return false;
  PyObject* settings = PyThreadState_GetDict();
  return settings != nullptr && name.in(settings) == value;
}

}  // namespace

bool must_stay_plain(const PyObject* value) {
  if (is_numpys_setting(value)) return true;
  if (value->type != &PyDict_Type) return false;
  for (PlainModule& module : plain_modules)
    if (holds(module, value)) return true;
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
