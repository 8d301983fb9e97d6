// The end of watched objects: learnt by their type's dealloc or, of Python's classes, by the finalizer that runs before
// it, since the interpreter finds a class's base dealloc by comparing that slot.
//
// An end that is not told leaves the address of freed memory in our tables.
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "probes/python/interpreter/interned.h"
#include "probes/python/interpreter/leading.h"
#include "probes/python/objects/attributes.h"

namespace watcher::python {
namespace {

using Dealloc = void (*)(PyObject* self);

/// What a led type did before, by type.
using Ends = std::unordered_map<const PyObject*, Dealloc>;
Ends& finalizers() {
  static auto* table = new Ends;  // process-lifetime, as the next
  return *table;
}
Ends& deallocs() {
  static auto* table = new Ends;
  return *table;
}

Dealloc original_of(const Ends& table, const PyObject* type, int slot, Dealloc ours) {
  for (; type != nullptr; type = field<PyObject*>(type, kTypeBase)) {
    if (field<Dealloc>(type, slot) != ours) continue;
    if (const auto found = table.find(type); found != table.end()) return found->second;
  }
  return nullptr;
}

// ---- of Python's classes

/// Finalizers of ours that run at this moment, innermost first; any thread's.
struct Finalization {
  const PyObject* object;
  Finalization* outer;
};
constinit Finalization* innermost = nullptr;

// Behind the host's __del__, whose stores are events.
void finalize(PyObject* self) {
  if (const Dealloc original = original_of(finalizers(), self->type, kTypeFinalize, finalize)) {
    Finalization here{self, innermost};
    innermost = &here;
    original(self);
    Finalization** at = &innermost;
    while (*at != &here) at = &(*at)->outer;
    *at = here.outer;
  }
  object_ends(self);
}

/// Does that frame look like a method that runs with the object?
bool runs_method(void* frame, const char* method, const PyObject* object) {
  PyObject* code = code_of(frame);
  if (code == nullptr || code->type != &PyCode_Type) return false;
  if (PyUnicode_CompareWithASCIIString(field<PyObject*>(code, compat.code_name), method) != 0) return false;
  if (size_of(field<PyObject*>(code, compat.code_local_names)) == 0) return false;
  constexpr int kCellContent = 16;
  const auto* self = field<const PyObject*>(frame, compat.frame_values);
  if (self != nullptr && self->type == &PyCell_Type) self = field<const PyObject*>(self, kCellContent);
  return self == object || self == nullptr;
}

/// What the type's finalizer runs of the host's: __del__, or what a file's does.
const char* finalizing_method(PyObject* type) {
  const Ref name(PyUnicode_InternFromString("__del__"));
  const PyObject* method = name ? _PyType_Lookup(type, name.get()) : nullptr;
  return method != nullptr && method->type == &PyWrapperDescr_Type ? "close" : "__del__";
}

// By a finalizer that was called before it was ours to lead.
bool is_being_finalized(const PyObject* object) {
  constexpr int kMaxDepth = 4000, kThreadInterpreter = 16, kOwnedByCStack = 3;
  for (const Finalization* at = innermost; at != nullptr; at = at->outer)
    if (at->object == object) return false;  // its end follows
  const char* method = finalizing_method(object->type);
  void* state = PyInterpreterState_ThreadHead(field(thread_state(), kThreadInterpreter));
  for (; state != nullptr; state = PyThreadState_Next(state)) {
    void* frame = frame_of(state);
    for (int depth = 0; frame != nullptr && depth < kMaxDepth; ++depth, frame = field(frame, compat.frame_back)) {
      if (compat.minor >= 12 && field<std::uint8_t>(frame, compat.frame_owner) == kOwnedByCStack) continue;
      if (runs_method(frame, method, object)) return true;
    }
  }
  return false;
}

bool has_finalizer(const PyObject* type) {
  const auto slot = field<Dealloc>(type, kTypeFinalize);
  return (slot == finalize ? original_of(finalizers(), type, kTypeFinalize, finalize) : slot) != nullptr;
}

Dealloc python_dealloc() {
  static const Dealloc slot = [] {
    PyObject* bootstrap = PyDict_GetItemString(loaded_modules(), "_frozen_importlib");
    if (bootstrap == nullptr || bootstrap->type != &PyModule_Type) return Dealloc{};
    const PyObject* spec = PyDict_GetItemString(module_dict(bootstrap), "ModuleSpec");
    return spec != nullptr && has_flag(spec, kHeapType) ? field<Dealloc>(spec, kTypeDealloc) : Dealloc{};
  }();
  return slot;
}

// ---- of others

/// Does the collector know it?
bool is_tracked(const PyObject* object) {
  constexpr int kCollectorsLink = -16;
  return has_flag(object->type, kHaveGc) && field(object, kCollectorsLink) != nullptr;
}

/// A chain of objects, each the last reference to the next one, is taken apart in a loop, not in a recursion: the
/// interpreter's own way of doing that looks for its own function in the slot.
class Nesting {
 public:
  Nesting() { ++depth_; }
  ~Nesting() {
    if (depth_ == 1) run_put_off();
    --depth_;
  }
  /// True: the object is dealt with later.
  static bool put_off(PyObject* object, PyObject* type);

 private:
  static void run_put_off();
  static constexpr int kDeepest = 50;
  __attribute__((tls_model("initial-exec"))) static inline constinit thread_local int depth_ = 0;
  __attribute__((tls_model("initial-exec"))) static inline constinit thread_local std::vector<PyObject*>* later_ =
      nullptr;
};

void dealloc(PyObject* self) {
  PyObject* type = self->type;
  if (Nesting::put_off(self, type)) return;
  const Nesting nesting;
  const Dealloc original = original_of(deallocs(), type, kTypeDealloc, dealloc);
  object_ends_in_dealloc(self);
  if (has_flag(type, kTypeSubclass)) {  // its address may come to mean another class
    if (finalizers().count(self) != 0) finalizers().erase(self);
    if (deallocs().count(self) != 0) deallocs().erase(self);
  }
  original(self);
}

bool Nesting::put_off(PyObject* object, PyObject* type) {
  if (depth_ < kDeepest || field<Dealloc>(type, kTypeDealloc) != dealloc || !is_tracked(object)) return false;
  PyObject_GC_UnTrack(object);
  if (later_ == nullptr) later_ = new std::vector<PyObject*>;
  later_->push_back(object);
  return true;
}

void Nesting::run_put_off() {
  while (later_ != nullptr) {
    const std::unique_ptr<std::vector<PyObject*>> now(std::exchange(later_, nullptr));
    for (PyObject* object : *now) {
      PyObject_GC_Track(object);  // its dealloc may insist
      dealloc(object);
    }
  }
}

bool lead(PyObject* type, Ends& table, int slot, Dealloc ours) {
  auto& function = field_ref<Dealloc>(type, slot);
  if (function == ours && table.find(type) != table.end()) return true;
  table[type] = function == ours ? original_of(table, type, slot, ours) : function;  // else it was inherited
  function = ours;
  return true;
}

}  // namespace

bool is_python_class(const PyObject* type) {
  return has_flag(type, kHeapType) && python_dealloc() != nullptr &&
         field<Dealloc>(type, kTypeDealloc) == python_dealloc();
}

bool lead_ends(PyObject* type) {
  if (!is_python_class(type)) return lead(type, deallocs(), kTypeDealloc, dealloc);
  lead(&PyType_Type, deallocs(), kTypeDealloc, dealloc);
  lead_attribute_stores(type->type);
  return lead(type, finalizers(), kTypeFinalize, finalize);
}

// A finalizer is called once: not again for an object that its __del__ has brought back to life. Bit 0 of the
// collector's word in front of the object says so.
bool end_will_be_told(const PyObject* object) {
  constexpr unsigned long kCollected = 1ul << 14;
  constexpr int kCollectorsWord = -8;
  const PyObject* type = object->type;
  if (!is_python_class(type)) return true;
  if (!has_flag(type, kCollected) || (field<std::uintptr_t>(object, kCollectorsWord) & 1) != 0) return false;
  return !has_finalizer(type) || !is_being_finalized(object);
}

void finalizers_were_written() {
  for (auto& [type, original] : finalizers()) {
    auto& slot = field_ref<Dealloc>(const_cast<PyObject*>(type), kTypeFinalize);
    if (slot == finalize) continue;
    original = slot;
    slot = finalize;
    lead_attribute_stores(const_cast<PyObject*>(type));  // all slots, when the bases are others
  }
}

void object_ends_in_dealloc(PyObject* object) {
  if (watched_containers.find(object) == nullptr) return;
  const bool collected = is_tracked(object);
  if (collected) PyObject_GC_UnTrack(object);
  object_ends(object);
  if (collected) PyObject_GC_Track(object);
}

}  // namespace watcher::python
