// Values that are watched in place: containers by their mutators, buffers by their pages.
//
// Threads: the GIL is held.
#pragma once

#include <string_view>
#include <vector>

#include "probes/python/events/emit.h"

namespace watcher::python {

class AttributePaths;

/// The variable on whose behalf a value is watched. `name` and `owner` are only read during the call.
struct Tracked {
  std::string_view name;
  std::string_view owner;  // file and function: makes the variable's id
  Scope scope = Scope::kUnknown;
  int references = 0;  // references to the value that the caller knows of; 0: unknown
  const void* frame =
      nullptr;  // the frame of a local, the cell of a closure variable: it counts while that lives; null: for ever
  const PyObject* keeper = nullptr;       // that cell, or the generator whose frame it is; null: a plain function's
  bool by_rule = false;                   // not by watch()
  const WatchRequest* request = nullptr;  // of the watch() call
  AttributePaths* paths = nullptr;        // it is told of stores to attributes instead of having events
  DictionaryRef known = 0;                // what intern_variable gives for it, where the caller has that; else 0
};

/// Watches the value in place when it is an exact list, dict or set (containers.cpp), or has a writable buffer:
/// bytearray, array.array, numpy.ndarray, mmap, ctypes, memoryview (buffers.cpp). A value may be held by several
/// variables: each gets an event. Returns the variable's VariableBlob, 0: nothing to watch in place. Never raises,
/// never runs the host's Python code.
DictionaryRef track_value(PyObject* value, const Tracked& variable);
DictionaryRef track_container(PyObject* value, const Tracked& variable);
DictionaryRef track_buffer(PyObject* value, const Tracked& variable);
/// An object of a library that hands out its memory by another protocol: pandas, torch. May run code of that library.
DictionaryRef track_lent_memory(PyObject* value, const Tracked& variable);

/// By which way a variable reaches a part of what it holds.
struct Way {
  DictionaryRef variable;
  Scope scope;
  DictionaryRef path;  // intern_path
};
/// A buffer inside watched objects: exactly these ways lead to it. None: it is watched as a part no more, and may be
/// dead.
void track_buffer_part(PyObject* value, const std::vector<Way>& ways);

/// The variable holds the value no more; when none is left, the value is as it was before. `variable` and `frame` are
/// those of the tracking; `value` is only an address and may have died since.
void untrack_value(PyObject* value, DictionaryRef variable, const void* frame);
bool untrack_container(PyObject* value, DictionaryRef variable, const void* frame);
bool untrack_buffer(PyObject* value, DictionaryRef variable);

/// What a tracked value holds by now, for a variable that is bound anew: the binding's own store may just have ended
/// its life. False: that is not known any more. `out` is valid until the next encoding with scratch_before.
bool tracked_state(PyObject* value, DictionaryRef variable, const void* frame, Value* out);
bool container_state(PyObject* value, DictionaryRef variable, const void* frame, Value* out);
bool buffer_state(PyObject* value, DictionaryRef variable, Value* out);

/// A dictionary that C code of the standard library insists on being a plain one.
bool must_stay_plain(const PyObject* value);

/// Creates the types that take the place of list, dict and set. Called once, when the interpreter is up.
bool containers_start();

}  // namespace watcher::python
