// What is known of the drivers' cursors (their statement and connection) and connections (their database): a small
// open-addressing table by address. Cursors come and go with each statement, so that nothing is allocated for one.
//
// Threads: the GIL is held.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/queue/event.h"

namespace watcher::python {

struct Known {
  DictionaryRef ref = 0;
  const void* connection = nullptr;
};

class KnownObjects {
 public:
  /// Null: nothing is known. Valid until the next put or forget.
  const Known* find(const void* object) const;
  /// True: nothing was known of it before. Without memory nothing is known after either.
  bool put(const void* object, const Known& known);
  void forget(const void* object);

 private:
  struct Slot {
    const void* object;
    Known known;
  };
  std::size_t home(const void* object) const {
    return (reinterpret_cast<std::uintptr_t>(object) * 0x9e3779b97f4a7c15u >> 32) & mask_;
  }
  /// Where the object is, or would be put.
  std::size_t place_of(const void* object) const;
  bool grow();

  Slot* slots_ = nullptr;  // lives as long as the process
  std::size_t mask_ = 0;
  std::size_t count_ = 0;
};

extern constinit KnownObjects known_objects;

}  // namespace watcher::python
