// Attributes of instances, classes and modules, caught in the slot by which their type stores them.
//
// The type is not swapped: `type(x) is C` holds, and so does what C code of the host assumes about it. The slot is led
// through us once the first object of a type is watched, and looks every object up; other types pay nothing. A class
// that has a `__setattr__` of its own keeps its slot: what it calls in the end, `object.__setattr__`, is seen.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/objects/object_parts.h"

namespace watcher::python {

/// The dictionary of the object's attributes, null when it has none. Instances of newer versions get one here.
PyObject* attributes_of(PyObject* object);

/// What lies in the object under that name. `known`: false for what a descriptor computes.
PyObject* stored_attribute(PyObject* object, PyObject* name, bool* known);

/// Can objects of the type be given attributes, in a dictionary or in `__slots__`?
bool has_attributes(PyObject* type);

/// Leads the type's slot through us; false when it stores attributes in a way of its own.
bool lead_attribute_stores(PyObject* type);

}  // namespace watcher::python
