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

/// An address that JavaScript goes on at, and what is known of it.
struct KnownAddress {
  std::uintptr_t address;
  std::uint64_t generation;
  int script_id;  // or one of these:
  static constexpr int kUnknown = -1, kOurs = -2;
  DictionaryRef place;  // for its finder to set; forgotten when code moves
};
/// Where the program's own code called us; null when it is not near. A thread's own, until its next call.
KnownAddress* program_caller();
/// The same place, when it is known, from where optimised code goes on and its frame. 0: ask program_caller().
DictionaryRef place_behind(std::uintptr_t address, const std::uintptr_t* frame);

/// The probe's hook.
void after_fork_child();

}  // namespace watcher::node
