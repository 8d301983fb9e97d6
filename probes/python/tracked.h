// Values that are watched in place: containers by their mutators, buffers by their pages.
//
// Threads: the GIL is held.
#pragma once

#include <string_view>

#include "probes/python/emit.h"

namespace watcher::python {

/// The variable on whose behalf a value is watched. `name` and `owner` are only read during the call.
struct Tracked {
  std::string_view name;
  std::string_view owner;  // file and function: makes the variable's id
  Scope scope = Scope::kUnknown;
  int references = 0;  // references to the value that the caller knows of; 0: unknown
};

/// Watches the value in place when it is an exact list, dict or set (containers.cpp), or has a writable buffer:
/// bytearray, array.array, numpy.ndarray, mmap, ctypes, memoryview (buffers.cpp). Watching the same object again only
/// renames it. False: nothing to watch in place. Never raises, never runs the host's Python code.
bool track_value(PyObject* value, const Tracked& variable);
bool track_container(PyObject* value, const Tracked& variable);
bool track_buffer(PyObject* value, const Tracked& variable);

/// Ends it; the value is as it was before. False: it was not watched.
bool untrack_value(PyObject* value);
bool untrack_container(PyObject* value);
bool untrack_buffer(PyObject* value);

/// Creates the types that take the place of list, dict and set. Called once, when the interpreter is up.
bool containers_start();

}  // namespace watcher::python
