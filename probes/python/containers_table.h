// Which containers are watched, and for whom: a small open-addressing table from an object's address to its variables.
//
// Threads: the GIL is held.
#pragma once

#include <cstddef>
#include <cstdint>

#include "probes/python/keepers.h"
#include "probes/python/python_api.h"
#include "runtime/queue/event.h"

namespace watcher::python {

/// A variable that holds a container.
struct Holder {
  DictionaryRef variable = 0;
  Scope scope = Scope::kUnknown;
  const void* frame =
      nullptr;    // a local holds it while this frame runs, a closure variable while its cell lives; null: for ever
  Keeper keeper;  // what the variable lives in when that is no running frame
  const PyObject* code = nullptr;  // of the frame: its address may be used again
  const void* thread = nullptr;    // state of the thread that runs it

  /// Does the variable still exist? Looks through its thread's frames.
  bool alive() const;
};

struct WatchedContainer {
  PyObject* object = nullptr;
  Holder* holders = nullptr;  // owned
  std::uint32_t count = 0;
  std::uint32_t changes = 0;  // events so far: tells a mutator whether code that it called changed the container too

  /// False: no memory.
  bool add(const Holder& holder);
  /// Returns false when there was no such holder.
  bool remove(DictionaryRef variable, const void* frame);
  /// Does any of the variables still exist?
  bool held() const;
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

 private:
  std::size_t home(const PyObject* object) const {
    return (reinterpret_cast<std::uintptr_t>(object) * 0x9e3779b97f4a7c15u >> 32) & mask_;
  }
  bool grow();

  WatchedContainer* slots_ = nullptr;  // lives as long as the process
  std::size_t mask_ = 0;
  std::size_t count_ = 0;
};

extern constinit ContainerTable watched_containers;

}  // namespace watcher::python
