// The end of what watch() began.
//
// Threads: the GIL is held.
#pragma once

#include <string>
#include <string_view>

#include "probes/python/names/variables.h"

namespace watcher::python {

/// watch() was called for the variable, which is `name` in the source. Keeps the pointer for ever.
void note_given(Variable* variable, const std::string& name);

void forget_given(Variable* variable);

/// Ends the watch of all variables whose events show that name; a name from a rule is watched when it is bound next.
void unwatch_name(std::string_view name);
/// Of all variables that hold the object. False: nothing was watched in it, nor is it what watch() was given.
bool unwatch_object(PyObject* object);
/// Of all variables that were made by that request.
void unwatch_request(const WatchRequest* request);

/// Of buffers.cpp: the variables whose memory is watched.
void unwatch_buffers(std::string_view name);
bool unwatch_buffer(PyObject* object);

}  // namespace watcher::python
