// Leading the slots and methods of a type through functions of ours, in place: for types whose objects cannot have
// theirs swapped, and for the ways around an object's own methods (`list.append(x, 1)`, `super().__setitem__(…)`).
//
// Nothing is undone: a slot that was led once looks each object up.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/containers/containers.h"

namespace watcher::python {

inline bool succeeded(const PyObject* result) {
  return result != nullptr;
}
inline bool succeeded(int status) {
  return status == 0;
}

/// The interpreter's wrapper of a slot, called for `C.__name__(x, …)`; `slot` is the C function behind it.
using WrapperFunction = PyObject* (*)(PyObject* self, PyObject* args, void* slot, PyObject* kwargs);

/// Runs `replacement` in place of the wrapper of `type.name`, for all types that have such a slot; returns the
/// original, null when that is not possible. `python_slot` receives the function that calls an override written in
/// Python.
WrapperFunction lead_wrapper(PyObject* type, const char* name, WrapperFunction replacement, void** python_slot);

/// The end of the type's objects is told to `object_ends` from now on; false: not possible. ends.cpp.
bool lead_ends(PyObject* type);
/// Can that still be told of this object?
bool end_will_be_told(const PyObject* object);
/// `C.__del__ = …`, `C.__bases__ = …`: the interpreter has written the finalizers of classes anew.
void finalizers_were_written();
/// `object_ends` for one whose references are used up already: the collector must not come across it.
void object_ends_in_dealloc(PyObject* object);
/// A watched object dies. containers.cpp.
void object_ends(PyObject* object);

/// heapq and the like, as far as they are imported by now. bypasses.cpp.
void lead_bypasses();
/// Changes of a dict by the C API (3.12+). bypasses.cpp.
void watch_dict_calls(PyObject* dict);
void unwatch_dict_calls(PyObject* dict);

/// Is it a class written in Python: does the interpreter itself take its objects apart?
bool is_python_class(const PyObject* type);

/// Learns what the base's methods and slots are, before anything is led. False: this interpreter's are not as expected.
bool learn_methods(ContainerKind& kind);
/// The kind's methods, whatever type they are called through: costs all objects of the base some nanoseconds a call.
void lead_methods(ContainerKind& kind);
/// `Base.__setitem__(x, …)`, `super().__setitem__(…)`. Costs only such calls.
void lead_wrappers(const ContainerKind& kind);
/// The kind's slots, where the type has (inherited) them.
void lead_slots(const ContainerKind& kind, PyObject* type);

}  // namespace watcher::python
