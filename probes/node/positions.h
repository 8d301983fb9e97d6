// Who is running: the JavaScript function and line, from the machine state of the writing thread.
//
// place_of_writer: any thread, signal handlers too. The others: threads that run JavaScript, in normal context.
#pragma once

#include "runtime/queue/event.h"

namespace watcher::node {

/// The calling thread's isolate can be asked from now on, until forget_thread_isolate.
void note_thread_isolate();
void forget_thread_isolate();

/// The probe's `place` hook: see probe_abi.h.
DictionaryRef place_of_writer(void* ucontext, DictionaryRef* context);

/// Place of the JavaScript code that called us; 0 when there is none.
DictionaryRef place_here();

/// The probe's hook.
void after_fork_child();

}  // namespace watcher::node
