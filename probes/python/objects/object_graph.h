// Watched objects inside watched objects: what an object is made of, and by which path a variable reaches it.
//
// A part knows the objects it was found in. It is not told when it is taken out: an event asks each of them whether and
// where it still holds the part, so the path is that of this moment, and a part that nobody holds any more is let go.
// Each variable gets one event, with the first path that is found.
//
// Threads: the GIL is held.
#pragma once

#include <vector>

#include "probes/python/containers/containers.h"
#include "probes/python/objects/tracked.h"

namespace watcher::python {

/// Longest path of an event: the option `depth`.
int max_depth();
/// False: the usual depth holds for what watch() was given; of what a rule names only the object itself is watched, for
/// everything inside it would change its type.
bool depth_is_chosen();

/// Watches the object from now on, its parts included, for a variable (level 1) or as a part. Null: it cannot be
/// watched.
WatchedContainer* watch_object(PyObject* object, int level);

/// `child` was put into `parent`. Does nothing for what cannot be watched, or lies too deep.
void adopt_part(PyObject* parent, PyObject* child);
/// `dict` holds the attributes of `object`, and the host has it in its hands.
void adopt_attributes(PyObject* object, PyObject* dict);

/// Makes changes of the object known: swaps its type (list, dict, set), or leads slots of its type through us. False:
/// it has nothing that could be followed. catching.cpp.
bool catch_changes(PyObject* object);
/// Undoes what concerns this object alone. catching.cpp.
void release_changes(PyObject* object);
/// Classes and modules are watched when a variable holds them, never as a part of something.
bool is_unwatchable_part(PyObject* object);

/// No variable holds it and it is no part of anything: it and its parts become what they were.
void let_go(PyObject* object);
/// The same for an object that is about to die.
void forget_dying(PyObject* object);

/// The variables that reach an object at this moment, each by the first path that is found, and all objects in between.
struct Reached {
  std::vector<Way> ways;
  std::vector<const PyObject*> above;
};
Reached variables_above(PyObject* object);

/// One event for each variable that reaches the object at this moment.
void report(PyObject* object, Op op, DictionaryRef place, const PathStep* path, const Value& before, const Value& after,
            bool exact);

}  // namespace watcher::python
