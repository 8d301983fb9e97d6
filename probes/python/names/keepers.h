// What a variable lives in when that is an object, not a running frame: a closure variable in its cell, a local of a
// generator or coroutine in that. Told here: whether it is still there.
//
// Threads: the GIL is held.
#pragma once

#include <cstdint>

#include "probes/python/interpreter/python_api.h"

namespace watcher::python {

struct Keeper {
  const PyObject* object = nullptr;  // null: none
  std::uint32_t life = 0;            // which object of that address
};

/// The generator, coroutine or asynchronous generator whose frame that is; null: a plain function's.
PyObject* generator_of(void* frame);

/// Follows the life of a cell or generator from now on.
Keeper keep_track_of(const PyObject* object);

/// False when it is gone, or a generator that has ended.
bool lives(const Keeper& keeper);

}  // namespace watcher::python
