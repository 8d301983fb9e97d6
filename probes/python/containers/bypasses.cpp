// Ways to change a list or dict past its methods and slots: functions of C that write into it directly.
//
// heapq and the counting loop of Counter are led through us, exactly; dict watchers (3.12) tell of the rest for dicts.
#include "probes/python/containers/quick_change.h"
#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/leading.h"
#include "probes/python/objects/object_parts.h"

extern "C" {
// 3.12+
WATCHER_WEAK int PyDict_AddWatcher(int (*)(int event, PyObject* dict, PyObject* key, PyObject* value));
WATCHER_WEAK int PyDict_Watch(int id, PyObject* dict);
WATCHER_WEAK int PyDict_Unwatch(int id, PyObject* dict);
}

namespace watcher::python {

namespace {

// ---- functions

using AnyFunction = PyObject* (*)(PyObject* module, void* a, void* b, void* c);

enum Bypass {
  kHeapPush,
  kHeapPop,
  kHeapReplace,
  kHeapPushPop,
  kHeapify,
  kHeapPopMax,
  kHeapReplaceMax,
  kHeapifyMax,
  kCount,
  kBypasses
};
constexpr char kHeapq[] = "_heapq", kCollections[] = "_collections";
constexpr struct {
  const char *module, *name;
} kFunctions[kBypasses] = {{kHeapq, "heappush"},         {kHeapq, "heappop"},      {kHeapq, "heapreplace"},
                           {kHeapq, "heappushpop"},      {kHeapq, "heapify"},      {kHeapq, "_heappop_max"},
                           {kHeapq, "_heapreplace_max"}, {kHeapq, "_heapify_max"}, {kCollections, "_count_elements"}};
constinit PyMethodDef definitions[kBypasses]{};
constinit AnyFunction originals[kBypasses]{};

/// The container among the arguments: the first one, whatever the convention.
PyObject* first_argument(int flags, void* a) {
  if ((flags & kMethO) != 0) return static_cast<PyObject*>(a);
  if ((flags & kMethFastcall) != 0) return *static_cast<PyObject* const*>(a);
  auto* args = static_cast<PyObject*>(a);
  return size_of(args) > 0 ? tuple_items(args)[0] : nullptr;
}

bool has_first_argument(int flags, void* a, void* b) {
  if ((flags & kMethFastcall) != 0) return reinterpret_cast<ssize_t>(b) > 0;
  return a != nullptr;
}

void record_list(const Mutation& change, const HeldItems& before, PyObject* list) {
  bool same = before.size() == static_cast<std::size_t>(size_of(list));
  for (std::size_t i = 0; same && i < before.size(); ++i) same = before[i] == list_items(list)[i];
  if (same) return;
  change.record(Op::kChange, nullptr, encode_items(list_kind, before.data(), before.size(), scratch_before),
                encode_repr(list, scratch_after));
  adopt_all(list);
}

/// What became of each key; Counter's loop only adds.
void record_dict(const Mutation& change, PyObject* before, PyObject* dict) {
  PyObject *key, *now;
  for (ssize_t position = 0; PyDict_Next(dict, &position, &key, &now);) {
    PyObject* old = is_plain_key(key) ? PyDict_GetItemWithError(before, key) : nullptr;
    if (old == nullptr) PyErr_Clear();
    if (old != now) change.record_item(Op::kUpdate, key_step(key), old, now, is_plain_key(key));
  }
}

template <int which>
PyObject* lead_function(PyObject* module, void* a, void* b, void* c) {
  const int flags = definitions[which].flags;
  PyObject* container = has_first_argument(flags, a, b) ? first_argument(flags, a) : nullptr;
  auto call = [&] { return originals[which](module, a, b, c); };
  if (container == nullptr || watched_containers.find(container) == nullptr) return call();
  const Mutation change(container);
  const Shape shape = shape_of(container->type);
  if (shape == Shape::kList) {
    const HeldItems before(list_items(container), static_cast<std::size_t>(size_of(container)));
    PyObject* result = call();
    KeepException keep;
    if (!change.nested()) record_list(change, before, container);
    return result;
  }
  const Ref before(shape == Shape::kDict ? PyDict_Copy(container) : nullptr);
  PyErr_Clear();
  PyObject* result = call();
  KeepException keep;
  if (before && !change.nested()) record_dict(change, before.get(), container);
  return result;
}

template <int... which>
void lead_functions(const char* module, PyObject* names, std::integer_sequence<int, which...>) {
  static constexpr AnyFunction kOurs[] = {lead_function<which>...};
  for (int i = 0; i < kBypasses; ++i) {
    if (originals[i] != nullptr || kFunctions[i].module != module) continue;
    PyObject* function = PyDict_GetItemString(names, kFunctions[i].name);
    if (function == nullptr || function->type != &PyCFunction_Type) continue;
    auto& method = field_ref<PyMethodDef*>(function, kFunctionMethod);
    definitions[i] = *method;
    originals[i] = reinterpret_cast<AnyFunction>(method->function);
    definitions[i].function = reinterpret_cast<void*>(kOurs[i]);
    method = &definitions[i];
  }
}

// ---- dict watchers

enum { kDictAdded, kDictModified, kDictDeleted };
constinit int watcher_id = -1;

void record_call(int event, PyObject* dict, PyObject* key, PyObject* value) {
  const Mutation change(dict);
  const bool plain = is_plain_key(key);
  const Ref old = Ref::borrow(plain ? PyDict_GetItemWithError(dict, key) : nullptr);
  PyErr_Clear();
  change.record_item(value != nullptr ? Op::kSetItem : Op::kDelItem, key_step(key), old.get(), value,
                     plain || event == kDictAdded);
}

// The collector clears a dying dict, too: a clear by the C API is told by the size, at the next change.
int on_dict_change(int event, PyObject* dict, PyObject* key, PyObject* value) {
  forget_latest_item(dict);
  const WatchedContainer* watched = watched_containers.find(dict);
  if (watched == nullptr || watched->attributes || event > kDictDeleted || Mutation::under_way(dict)) return 0;
  if (current_frame() == nullptr) return 0;  // the interpreter takes itself apart

  KeepException keep;
  record_call(event, dict, key, value);
  if (WatchedContainer* still = watched_containers.find(dict))
    still->size += event == kDictAdded ? 1u : event == kDictDeleted ? -1u : 0u;  // as it will be in a moment
  return 0;
}
}  // namespace

// Asked at every value that comes to be watched, so that the functions are led as soon as their module is there.
void lead_bypasses() {
  static constinit struct {
    const char* name;
    Interned text;
    bool led;
  } modules[] = {{kHeapq, Interned(kHeapq), false}, {kCollections, Interned(kCollections), false}};
  for (auto& module : modules) {
    PyObject* names = module.led ? nullptr : module.text.as_module();
    if (names == nullptr) continue;
    lead_functions(module.name, names, std::make_integer_sequence<int, kBypasses>());
    module.led = true;
  }
}

void watch_dict_calls(PyObject* dict) {
  if (PyDict_AddWatcher == nullptr) return;
  if (watcher_id < 0) watcher_id = PyDict_AddWatcher(on_dict_change);
  if (watcher_id < 0 || PyDict_Watch(watcher_id, dict) != 0) PyErr_Clear();
}

// The bit is what PyDict_Watch sets. Notifying costs several times what looking at it does.
constexpr int kWatchers = 24;  // low bits of ma_version_tag (3.12), _ma_watcher_tag (3.13)
int set_item_untold(PyObject* dict, PyObject* key, PyObject* value) {
  if (watcher_id < 0) return PyDict_SetItem(dict, key, value);
  const std::uint64_t ours = field<std::uint64_t>(dict, kWatchers) & std::uint64_t{1} << watcher_id;
  field_ref<std::uint64_t>(dict, kWatchers) &= ~ours;
  const int status = PyDict_SetItem(dict, key, value);
  field_ref<std::uint64_t>(dict, kWatchers) |= ours;
  return status;
}

bool tells_changes(const PyObject* dict) {
  return watcher_id >= 0 && (field<std::uint64_t>(dict, kWatchers) >> watcher_id & 1) != 0;
}

void unwatch_dict_calls(PyObject* dict) {
  forget_latest_item(dict);
  if (watcher_id >= 0 && PyDict_Unwatch(watcher_id, dict) != 0) PyErr_Clear();
}

}  // namespace watcher::python
