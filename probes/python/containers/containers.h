// Lists, dicts and sets watched in place: the object's type is swapped for a subclass of the same layout whose mutators
// forward to the base type's and record what changed.
//
// An event is written after the base operation, when its outcome is known; old items are held by reference until then,
// so that a destructor of the host runs after the event of the store that triggered it.
//
// Threads: the GIL is held.
#pragma once

#include <cstddef>
#include <span>

#include "probes/python/containers/containers_table.h"
#include "probes/python/events/emit.h"
#include "probes/python/interpreter/layout.h"

namespace watcher::python {

using FastMethod = PyObject* (*)(PyObject* self, PyObject* const* args, ssize_t count, PyObject* names);
using OneArgumentMethod = PyObject* (*)(PyObject* self, PyObject* argument);

/// A mutator of ours and the base type's method behind it.
struct Mutator {
  const char* name;
  FastMethod fast = nullptr;
  OneArgumentMethod one_argument = nullptr;  // instead of `fast`, where the base's method is METH_O as well
  PyObject* base = nullptr;                  // a method descriptor of the original; learnt at start
  PyObject* descriptor = nullptr;            // the one the base type shows
  PyMethodDef definition{};                  // ours
};

/// One built-in type and the subclass that takes its place.
struct ContainerKind {
  const char* name;
  const char* qualified_name;
  PyObject* base;
  std::span<Mutator> mutators;
  std::span<const PyTypeSlot> slots;
  PyObject* (*reduce)(PyObject* self);          // what copy and pickle rebuild: the plain type
  PyObject* (*repr)(PyObject* self) = nullptr;  // where the base's shows that the type is not its own
  PyObject* type = nullptr;                     // that subclass; null: the base's own slots and methods lead to ours
  void* base_slots[6]{};                        // functions behind `slots`
};
extern constinit ContainerKind list_kind;
extern constinit ContainerKind dict_kind;
extern constinit ContainerKind set_kind;
extern constinit ContainerKind ordered_kind;  // OrderedDict
extern constinit ContainerKind deque_kind;

/// Calls the base type's method, its own argument checks and messages included.
PyObject* call_base(const Mutator& mutator, PyObject* self, PyObject* const* args, ssize_t count, PyObject* names);
inline PyObject* call_base(const Mutator& mutator, PyObject* self, PyObject* argument) {
  const auto* definition = field<const PyMethodDef*>(mutator.base, kMethodDefinition);
  return reinterpret_cast<OneArgumentMethod>(definition->function)(self, argument);
}

/// A mutator call on a container that may be watched.
class Mutation {
 public:
  explicit Mutation(PyObject* self) : self_(self) {
    const WatchedContainer* watched = watched_containers.find(self);
    watched_ = watched != nullptr;
    if (watched_) [[unlikely]]
      begin(*watched);
  }
  Mutation(const Mutation&) = delete;
  Mutation& operator=(const Mutation&) = delete;
  ~Mutation() {
    if (watched_) end();
  }
  explicit operator bool() const { return watched_; }
  /// Code that ran inside the call (a generator, a key function, __eq__) changed the container as well.
  bool nested() const {
    const WatchedContainer* watched = watched_containers.find(self_);
    return watched == nullptr || watched->changes != changes_;
  }
  /// Writes the event. Keeps a pending exception.
  void record(Op op, const PathStep* path, const Value& before, const Value& after, bool exact = true) const;
  void record_item(Op op, const PathStep& path, PyObject* before, PyObject* after, bool exact = true) const;
  /// Is one of ours at work on that object?
  static bool under_way(const PyObject* object);

 private:
  void begin(const WatchedContainer& watched);
  void end();

  PyObject* self_;
  mutable const Mutation* outer_ = nullptr;
  bool watched_;
  std::uint32_t changes_ = 0;
};

/// References to items, kept over a mutation. Released last, when the event is written.
class HeldItems {
 public:
  explicit HeldItems(std::size_t capacity);
  HeldItems(PyObject* const* items, std::size_t count);
  HeldItems(const HeldItems&) = delete;
  HeldItems& operator=(const HeldItems&) = delete;
  ~HeldItems();

  void add(PyObject* item) {
    if (count_ < capacity_) incref(items_[count_++] = item);
  }
  std::size_t size() const { return count_; }
  PyObject* const* data() const { return items_; }
  PyObject* operator[](std::size_t index) const { return items_[index]; }

 private:
  static constexpr std::size_t kFew = 16;
  PyObject* few_[kFew];
  PyObject** items_ = few_;
  std::size_t capacity_ = kFew;
  std::size_t count_ = 0;
};

/// Items as the bounded repr of a container of that type.
Value encode_items(const ContainerKind& kind, PyObject* const* items, std::size_t count, Scratch& scratch);

inline PathStep index_step(ssize_t index) {
  return {.kind = PathKind::kIndex, .index = index};
}
/// A dictionary key or set element; valid until the next call.
PathStep key_step(PyObject* key);
PathStep element_step(PyObject* element);

/// True when hashing and comparing the object runs no code of the host's: built-in values, tuples of them, and objects
/// that compare by identity.
bool is_plain_key(const PyObject* key, int depth = 0);

/// The swapped kind that the type is or stands for; null: none. containers.cpp.
ContainerKind* kind_of(const PyObject* type);
/// Something was put into the container; see object_graph.h.
void adopt_parts(PyObject* parent, PyObject* const* children, std::size_t count);
void adopt_all(PyObject* parent);

}  // namespace watcher::python
