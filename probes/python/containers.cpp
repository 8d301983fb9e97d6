// The swap itself: making the types, changing an object's type and back, and the little that all kinds share.
#include "probes/python/containers.h"

#include <stdlib.h>
#include <string.h>

#include "probes/python/frames.h"
#include "probes/python/tracked.h"

namespace watcher::python {
namespace {

// Type slots of typeslots.h, the same numbers in every version.
enum { kSlotInPlaceOr = 19, kSlotAlloc = 47, kSlotDealloc = 52, kSlotMethods = 64, kSlotNew = 65, kSlotGetSet = 73 };
constexpr unsigned kDefaultFlags = 1u << 18 | 1u << 10;  // the version tag, and subclassable as the base is
constexpr std::size_t kMaxMutators = 16;
constexpr std::size_t kMaxSlots = 16;

using New = PyObject* (*)(PyObject* type, PyObject* args, PyObject* kwargs);
using Alloc = PyObject* (*)(PyObject* type, ssize_t items);
using Dealloc = void (*)(PyObject* self);

constinit bool started = false;

// What the containers that died last held, for those who still name them: `x = []` ends the life of the old list before
// the hook behind it runs.
struct LastState {
  const PyObject* object = nullptr;
  Shadow value;
};
constexpr std::size_t kLastStates = 64;  // a container takes those inside along
LastState* last_states() {
  static auto* states = new LastState[kLastStates];  // process-lifetime
  return states;
}
constinit std::size_t next_last_state = 0;

/// An address comes to mean another object.
void forget_last_state(const PyObject* object) {
  for (std::size_t i = 0; i < kLastStates; ++i)
    if (last_states()[i].object == object) last_states()[i].object = nullptr;
}

void keep_last_state(PyObject* object) {
  forget_last_state(object);
  LastState& state = last_states()[next_last_state++ % kLastStates];
  state.object = object;
  state.value.assign(encode_repr(object, scratch_before));
}

// The base type's own dealloc is run on an object that has its own type back: free lists and all work as ever.
template <ContainerKind& kind>
void dealloc(PyObject* self) {
  PyObject* type = self->type;
  if (type == kind.type) {
    self->type = kind.base;
    if (const WatchedContainer* watched = watched_containers.find(self)) {
      if (watched->held()) keep_last_state(self);
      watched_containers.remove(self);
    }
  }
  field<Dealloc>(kind.base, kTypeDealloc)(self);
  Py_DecRef(type);
}

// `type(x)(…)`, `x.fromkeys(…)`: what a program makes from a watched object's type is a plain one.
template <ContainerKind& kind>
PyObject* construct(PyObject* type, PyObject* args, PyObject* kwargs) {
  if (type == kind.type) return PyObject_Call(kind.base, args, kwargs);
  return field<New>(kind.base, kTypeNew)(type, args, kwargs);
}

// Results that C code makes of the same type as its operand (set algebra) are plain ones, too.
template <ContainerKind& kind>
PyObject* allocate(PyObject* type, ssize_t items) {
  return field<Alloc>(kind.base, kTypeAlloc)(type == kind.type ? kind.base : type, items);
}

template <ContainerKind& kind>
PyObject* class_of(PyObject* self, void*) {
  PyObject* type = self->type == kind.type ? kind.base : self->type;
  Py_IncRef(type);
  return type;
}

int refuse_class(PyObject*, PyObject*, void*) {
  PyErr_SetString(PyExc_TypeError,
                  compat.minor >= 10 ? "__class__ assignment only supported for mutable types or ModuleType subclasses"
                                     : "__class__ assignment only supported for heap types or ModuleType subclasses");
  return -1;
}

template <ContainerKind& kind>
PyObject* reduce(PyObject* self, PyObject*) {
  return kind.reduce(self);
}

/// What every kind needs besides its own slots. Lives as long as the type.
template <ContainerKind& kind>
struct TypeParts {
  static inline constinit PyMethodDef methods[kMaxMutators + 3]{};
  static inline constinit PyGetSetDef properties[] = {{"__class__", class_of<kind>, refuse_class, nullptr, nullptr},
                                                      {}};
  static inline constinit PyTypeSlot slots[kMaxSlots]{};
};

/// Learns the base's methods and gives ours their documentation and signature.
bool learn_mutators(ContainerKind& kind, PyMethodDef* methods) {
  for (Mutator& mutator : kind.mutators) {
    mutator.base = PyObject_GetAttrString(kind.base, mutator.name);
    if (mutator.base == nullptr || mutator.base->type != &PyMethodDescr_Type) return false;
    const auto* definition = field<const PyMethodDef*>(mutator.base, kMethodDefinition);
    if (mutator.fast != nullptr) {
      *methods++ = {mutator.name, reinterpret_cast<void*>(mutator.fast), kMethFastcall | kMethKeywords,
                    definition->doc};
    } else {
      if (definition->flags != kMethO) return false;
      *methods++ = {mutator.name, reinterpret_cast<void*>(mutator.one_argument), kMethO, definition->doc};
    }
  }
  return true;
}

void copy_documentation(const ContainerKind& kind) {
  const Ref text(PyObject_GetAttrString(kind.base, "__doc__"));
  if (text) PyObject_SetAttrString(kind.type, "__doc__", text.get());
}

/// Dicts learnt `|=` in 3.9.
bool has_in_place_or(const ContainerKind& kind) {
  return suite_slot(kind.base, kTypeAsNumber, kNumberInPlaceOr) != nullptr;
}

template <ContainerKind& kind>
bool make_type() {
  using Parts = TypeParts<kind>;
  if (!learn_mutators(kind, Parts::methods)) return false;
  PyMethodDef* method = Parts::methods + kind.mutators.size();
  *method++ = {"__reduce__", reinterpret_cast<void*>(reduce<kind>), kMethNoArgs, nullptr};
  *method = {"__reduce_ex__", reinterpret_cast<void*>(reduce<kind>), kMethO, nullptr};
  PyTypeSlot* slot = Parts::slots;
  for (const PyTypeSlot& own : kind.slots)
    if (own.slot != kSlotInPlaceOr || has_in_place_or(kind)) *slot++ = own;
  *slot++ = {kSlotMethods, Parts::methods};
  *slot++ = {kSlotGetSet, Parts::properties};
  *slot++ = {kSlotDealloc, reinterpret_cast<void*>(dealloc<kind>)};
  *slot++ = {kSlotNew, reinterpret_cast<void*>(construct<kind>)};
  *slot = {kSlotAlloc, reinterpret_cast<void*>(allocate<kind>)};
  PyTypeSpec spec{kind.qualified_name, 0, 0, kDefaultFlags, Parts::slots};
  const Ref bases(PyTuple_Pack(1, kind.base));
  if (!bases) return false;
  kind.type = PyType_FromSpecWithBases(&spec, bases.get());
  if (kind.type == nullptr) return false;
  copy_documentation(kind);
  field_ref<const char*>(kind.type, kTypeName) = kind.name;  // without the module, as error messages print it
  // in the slot only: `type(x).__repr__` stays the base's, by which pprint chooses its way
  if (kind.repr != nullptr) field_ref<void*>(kind.type, kTypeRepr) = reinterpret_cast<void*>(kind.repr);
  if (compat.minor >= 10) field_ref<unsigned long>(kind.type, kTypeFlags) |= kImmutableType;
  return true;
}

ContainerKind* kind_of(const PyObject* type) {
  for (ContainerKind* kind : {&list_kind, &dict_kind, &set_kind})
    if (type == kind->base || type == kind->type) return kind;
  return nullptr;
}

}  // namespace

bool containers_start() {
  static bool tried = false;
  if (tried) return started;
  tried = true;
  KeepException keep;
  started = make_type<list_kind>() && make_type<dict_kind>() && make_type<set_kind>();
  if (!started) runtime->log(WATCHER_WARNING, "containers cannot be watched in this interpreter");
  return started;
}

DictionaryRef track_container(PyObject* value, const Tracked& variable) {
  const ContainerKind* kind = kind_of(value->type);
  if (kind == nullptr || !ensure_session() || !containers_start()) return 0;
  WatchedContainer* watched = watched_containers.add(value);
  if (watched == nullptr) return 0;
  if (watched->count == 0) forget_last_state(value);
  const Holder holder{.variable = intern_variable(variable.name, variable.owner, variable.scope),
                      .scope = variable.scope,
                      .frame = variable.frame,
                      .keeper = keep_track_of(variable.keeper),
                      .code = variable.frame != nullptr && variable.keeper == nullptr
                                  ? code_of(const_cast<void*>(variable.frame))
                                  : nullptr,
                      .thread = thread_state()};
  if (!watched->add(holder)) {
    if (watched->count == 0 && value->type == kind->base) watched_containers.remove(value);
    return 0;
  }
  if (value->type == kind->base) {
    Py_IncRef(kind->type);
    value->type = kind->type;
  }
  return holder.variable;
}

bool untrack_container(PyObject* value, DictionaryRef variable, const void* frame) {
  WatchedContainer* watched = watched_containers.find(value);
  if (watched == nullptr || !watched->remove(variable, frame)) return false;
  if (watched->count > 0) return true;
  const ContainerKind* kind = kind_of(value->type);
  watched_containers.remove(value);
  value->type = kind->base;
  Py_DecRef(kind->type);
  return true;
}

bool container_state(PyObject* value, DictionaryRef variable, const void* frame, Value* out) {
  if (const WatchedContainer* watched = watched_containers.find(value)) {
    for (std::uint32_t i = 0; i < watched->count; ++i) {
      if (watched->holders[i].variable != variable || watched->holders[i].frame != frame) continue;
      *out = encode_repr(value, scratch_before);
      return true;
    }
  }
  for (std::size_t i = 0; i < kLastStates; ++i) {
    LastState& state = last_states()[i];
    if (state.object != value) continue;
    *out = state.value.value();
    return true;
  }
  return false;
}

PyObject* call_base(const Mutator& mutator, PyObject* self, PyObject* const* args, ssize_t count, PyObject* names) {
  constexpr std::size_t kFew = 16;
  const auto vectorcall = field<PyVectorcall>(mutator.base, kMethodVectorcall);
  const auto given = static_cast<std::size_t>(count + (names != nullptr ? PyTuple_Size(names) : 0));
  PyObject* few[kFew];
  PyObject** with_self = given < kFew ? few : static_cast<PyObject**>(malloc((given + 1) * sizeof(PyObject*)));
  if (with_self == nullptr) return PyErr_NoMemory();
  with_self[0] = self;
  if (given != 0) memcpy(with_self + 1, args, given * sizeof(PyObject*));
  PyObject* result = vectorcall(mutator.base, with_self, static_cast<std::size_t>(count) + 1, names);
  if (with_self != few) free(with_self);
  return result;
}

void Mutation::record(Op op, const PathStep* path, const Value& before, const Value& after, bool exact) const {
  WatchedContainer* watched = watched_containers.find(self_);
  if (watched == nullptr) return;  // its watch ended inside the call
  ++watched->changes;
  const DictionaryRef place = place_here();
  for (std::uint32_t i = 0; i < watched->count; ++i) {
    const Holder& holder = watched->holders[i];
    bool told = false;  // the frames of a recursion hold it by one name
    for (std::uint32_t k = 0; k < i; ++k)
      told = told || (watched->holders[k].variable == holder.variable && watched->holders[k].alive());
    if (told || !holder.alive()) continue;
    emit(op, {.variable = holder.variable, .place = place, .scope = holder.scope, .exact = exact}, path, before, after);
  }
}

}  // namespace watcher::python
