// The swap itself: making the types, changing an object's type and back, and the little that all kinds share.
#include "probes/python/containers/containers.h"

#include <stdlib.h>
#include <string.h>

#include "probes/python/api/debugger.h"
#include "probes/python/context/frames.h"
#include "probes/python/interpreter/leading.h"
#include "probes/python/objects/nested_buffers.h"
#include "probes/python/objects/object_graph.h"
#include "probes/python/objects/object_parts.h"
#include "probes/python/objects/tracked.h"

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
    object_ends_in_dealloc(self);
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

/// `type(x).append(plain, 1)`: what it shows takes any object of the base, as the base's does.
void widen_descriptors(const ContainerKind& kind) {
  PyObject *name, *descriptor;
  ssize_t position = 0;
  while (PyDict_Next(field<PyObject*>(kind.type, kTypeDict), &position, &name, &descriptor)) {
    if (descriptor->type != &PyMethodDescr_Type && descriptor->type != &PyWrapperDescr_Type) continue;
    auto& owner = field_ref<PyObject*>(descriptor, kDescriptorType);
    if (owner != kind.type) continue;
    Py_IncRef(kind.base);
    owner = kind.base;
    Py_DecRef(kind.type);
  }
}

/// `x.append(…)` without the interpreter's ado about a method of C: ours runs no code of the host's. From 3.11 on the
/// interpreter has such a way itself, for methods of the object's very type: it calls ours there, and here the rest.
template <ContainerKind& kind>
struct Shortcut {
  static inline constinit PyVectorcall original = nullptr;
  static inline constinit OneArgumentMethod method = nullptr;
  static inline constinit PyObject* base = nullptr;

  static PyObject* call(PyObject* descriptor, PyObject* const* args, std::size_t flagged_count, PyObject* names) {
    constexpr std::size_t kArgumentsOffset = std::size_t{1} << 63;
    const std::size_t count = flagged_count & ~kArgumentsOffset;
    if (count == 2 && names == nullptr && args[0]->type == kind.type) [[likely]]
      return method(args[0], args[1]);
    if (count > 0 && PyType_IsSubtype(args[0]->type, kind.type) == 0)
      return field<PyVectorcall>(base, kMethodVectorcall)(base, args, flagged_count, names);
    return original(descriptor, args, flagged_count, names);
  }
  static void take(const Mutator& mutator) {
    PyObject* descriptor = PyDict_GetItemString(field<PyObject*>(kind.type, kTypeDict), mutator.name);
    if (descriptor == nullptr || descriptor->type != &PyMethodDescr_Type) return;
    method = mutator.one_argument;
    base = mutator.base;
    original = field<PyVectorcall>(descriptor, kMethodVectorcall);
    field_ref<PyVectorcall>(descriptor, kMethodVectorcall) = call;
    if (compat.minor <= 10) return;
    Py_IncRef(kind.type);
    field_ref<PyObject*>(descriptor, kDescriptorType) = kind.type;
    Py_DecRef(kind.base);
  }
};

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
  if (!learn_methods(kind)) return false;
  PyMethodDef* method = Parts::methods;
  for (const Mutator& mutator : kind.mutators) *method++ = mutator.definition;
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
  widen_descriptors(kind);
  if (&kind == &list_kind) Shortcut<kind>::take(kind.mutators[0]);
  lead_wrappers(kind);
  field_ref<const char*>(kind.type, kTypeName) = kind.name;  // without the module, as error messages print it
  // in the slot only: `type(x).__repr__` stays the base's, by which pprint chooses its way
  if (kind.repr != nullptr) field_ref<void*>(kind.type, kTypeRepr) = reinterpret_cast<void*>(kind.repr);
  if (compat.minor >= 10) field_ref<unsigned long>(kind.type, kTypeFlags) |= kImmutableType;
  return true;
}

}  // namespace

ContainerKind* kind_of(const PyObject* type) {
  for (ContainerKind* kind : {&list_kind, &dict_kind, &set_kind})
    if (type == kind->base || type == kind->type) return kind;
  return nullptr;
}

bool containers_start() {
  static bool tried = false;
  if (tried) return started;
  tried = true;
  KeepException keep;
  started = make_type<list_kind>() && make_type<dict_kind>() && make_type<set_kind>();
  if (!started) runtime->log(WATCHER_WARNING, "containers cannot be watched in this interpreter");
  return started;
}

void object_ends(PyObject* object) {
  const WatchedContainer* watched = watched_containers.find(object);
  if (watched == nullptr) return;
  KeepException keep;
  if (watched->held()) keep_last_state(object);
  forget_dying(object);
}

DictionaryRef track_container(PyObject* value, const Tracked& variable) {
  // new settings of numpy's (see must_stay_plain): it would not even be imported
  constexpr std::string_view kInsists = "/numpy/core/_ufunc_config.py";
  if (variable.owner.find(kInsists) != variable.owner.npos || !ensure_session() || !containers_start()) return 0;
  KeepException keep;
  WatchedContainer* watched = watch_object(value, variable.by_rule && !depth_is_chosen() ? max_depth() : 1);
  if (watched == nullptr) return 0;
  if (watched->count == 0) forget_last_state(value);
  const DictionaryRef known = variable.known;
  const Holder holder{
      .variable = known != 0 ? known : intern_variable(variable.name, variable.owner, variable.scope, variable.request),
      .scope = variable.scope,
      .frame = variable.frame,
      .keeper = keep_track_of(variable.keeper),
      .code = variable.frame != nullptr && variable.keeper == nullptr ? code_of(const_cast<void*>(variable.frame))
                                                                      : nullptr,
      .thread = thread_state(),
      .paths = variable.paths};
  const bool added = watched->add(holder);
  if (!added && watched->unneeded()) let_go(value);
  if (has_buffer_parts()) settle_buffer_parts(value);
  return added ? holder.variable : 0;
}

bool untrack_container(PyObject* value, DictionaryRef variable, const void* frame) {
  WatchedContainer* watched = watched_containers.find(value);
  if (watched == nullptr || !watched->remove(variable, frame)) return false;
  if (watched->unneeded()) let_go(value);
  if (has_buffer_parts()) settle_buffer_parts(value);
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
  // Mostly `self` lies before the arguments already: that is how the interpreter calls a method.
  if (args != nullptr && count > 0 && args[-1] == self)
    return field<PyVectorcall>(mutator.base, kMethodVectorcall)(mutator.base, args - 1,
                                                                static_cast<std::size_t>(count) + 1, names);
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

// Mutators that run at this moment, innermost first. Any thread's: one that runs may let go of the GIL.
static constinit const Mutation* innermost = nullptr;

bool Mutation::under_way(const PyObject* object) {
  for (const Mutation* at = innermost; at != nullptr; at = at->outer_)
    if (at->self_ == object) return true;
  return false;
}

// Something may have changed the container since, past its methods: the C API does. What it was, nobody knows.
void Mutation::begin(const WatchedContainer& watched) {
  changes_ = watched.changes;
  if (!watched.size_is_seen() && !watched.attributes && !under_way(self_)) [[unlikely]] {
    KeepException keep;
    record(Op::kChange, nullptr, {}, encode_repr(self_, scratch_after), false);
    adopt_all(self_);
  }
  outer_ = innermost;
  innermost = this;
}

void Mutation::end() {
  for (const Mutation** at = &innermost; *at != nullptr; at = &(*at)->outer_) {
    if (*at != this) continue;
    *at = outer_;
    break;
  }
  if (WatchedContainer* watched = watched_containers.find(self_)) watched->see_size();
  if ((attention & kBreaks) != 0 && break_asked()) [[unlikely]]
    enter_debugger_quietly();
}

void Mutation::record(Op op, const PathStep* path, const Value& before, const Value& after, bool exact) const {
  WatchedContainer* watched = watched_containers.find(self_);
  if (watched == nullptr) return;  // its watch ended inside the call
  ++watched->changes;
  report(self_, op, place_here(), path, before, after, exact);
}

void Mutation::record_item(Op op, const PathStep& path, PyObject* before, PyObject* after, bool exact) const {
  record(op, &path, encode(before, scratch_before), encode(after, scratch_after), exact);
  adopt_part(self_, after);
}

}  // namespace watcher::python
