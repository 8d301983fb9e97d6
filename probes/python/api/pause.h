// Pausing: between pause() and resume() no change is an event; the resume tells what each variable held before and
// after, as one event.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/events/emit.h"

namespace watcher::python {

/// 0 or an errno: ENOMEM, no room for the copies of watched memory. A pause in a pause does nothing.
int pause_recording();
int resume_recording();

/// What emit() does meanwhile.
void note_while_paused(Op op, const Subject& subject, const Value& before, const Value& after);

}  // namespace watcher::python
