// Which objects are watched, and for whom: a small open-addressing table from an object's address to the variables that
// hold it and to the watched objects it is part of.
//
// Threads: the GIL is held.
#pragma once

#include <cstddef>
#include <cstdint>

#include "probes/python/interpreter/python_api.h"
#include "probes/python/names/keepers.h"
#include "runtime/queue/event.h"

namespace watcher::python {

class AttributePaths;

/// A variable that holds a container.
struct Holder {
  DictionaryRef variable = 0;
  Scope scope = Scope::kUnknown;
  const void* frame =
      nullptr;    // a local holds it while this frame runs, a closure variable while its cell lives; null: for ever
  Keeper keeper;  // what the variable lives in when that is no running frame
  const PyObject* code = nullptr;   // of the frame: its address may be used again
  const void* thread = nullptr;     // state of the thread that runs it
  AttributePaths* paths = nullptr;  // told of stores to attributes; then the variable has no events of its own

  /// Does the variable still exist? Looks through its thread's frames.
  bool alive() const;
};

/// Of what has no size.
inline constexpr std::uint32_t kNoSize = 0;

/// A watched object whose part another one was when it was last looked at. Whether it still is, an event finds out.
struct Parent {
  const PyObject* object = nullptr;
  std::uint32_t life = 0;  // the parent's WatchedContainer::life: addresses are used again
  std::int64_t hint = 0;   // where it was seen last: index, position in the dict
};

struct WatchedContainer {
  PyObject* object = nullptr;
  const PyObject* type = nullptr;  // as long as it is this object
  Holder* holders = nullptr;       // owned
  Parent* parents = nullptr;       // owned
  std::uint32_t count = 0;
  std::uint32_t parent_count = 0;
  std::uint32_t changes = 0;  // events so far: tells a mutator whether code that it called changed the container too
  std::uint32_t life = 0;
  std::uint32_t size = 0;   // when its last event was written: tells that something changed it past its methods
  std::uint8_t level = 0;   // steps from the nearest variable, itself included
  bool reporting = false;   // an event of it is on its way up: it may be part of itself
  bool attributes = false;  // the dictionary of its only parent's attributes, handed out by `__dict__`
  bool buffer = false;      // a part that is memory: nested_buffers.h
  const std::uint32_t* size_now = &kNoSize;

  /// False: no memory.
  bool add(const Holder& holder);
  /// Returns false when there was no such holder.
  bool remove(DictionaryRef variable, const void* frame);
  /// Does any of the variables still exist?
  bool held() const;
  /// False: it is there already, or there is no memory.
  bool add_parent(const WatchedContainer& parent);
  void remove_parent(std::uint32_t index) { parents[index] = parents[--parent_count]; }
  bool size_is_seen() const { return size == *size_now; }
  void see_size() { size = *size_now; }
  bool unneeded() const { return count == 0 && parent_count == 0; }
};

class ContainerTable {
 public:
  /// Null: not watched. Valid until the next add or remove.
  WatchedContainer* find(const PyObject* object) const {
    if (count_ == 0) return nullptr;
    for (std::size_t at = home(object);; at = (at + 1) & mask_) {
      if (slots_[at].object == object) return &slots_[at];
      if (slots_[at].object == nullptr) return nullptr;
    }
  }

  /// The object's entry, a new one if need be; null when there is no memory for it.
  WatchedContainer* add(PyObject* object);
  void remove(const PyObject* object);
  /// Another one: entries may lie elsewhere.
  std::uint32_t version() const { return version_; }
  /// The table must not change meanwhile.
  template <class Visit>
  void for_each(Visit visit) const {
    for (std::size_t at = 0; slots_ != nullptr && at <= mask_; ++at)
      if (slots_[at].object != nullptr) visit(slots_[at]);
  }

 private:
  std::size_t home(const PyObject* object) const {
    return (reinterpret_cast<std::uintptr_t>(object) * 0x9e3779b97f4a7c15u >> 32) & mask_;
  }
  bool grow();

  WatchedContainer* slots_ = nullptr;  // lives as long as the process
  std::size_t mask_ = 0;
  std::size_t count_ = 0;
  std::uint32_t lives_ = 0;
  std::uint32_t version_ = 0;
};

extern constinit ContainerTable watched_containers;

}  // namespace watcher::python
