// Touching memory that may not be there, and calling code that may fault: the fault handler resumes behind the access.
//
// Any thread, any context, once the fault handlers are installed; before that a fault is the host's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/capture/memory_watch.h"

namespace watcher {

extern "C" {
/// Returns how many bytes could not be copied; 0 is success.
std::size_t watcher_guarded_copy(void* to, const void* from, std::size_t bytes);
/// Writes a byte's own value back to it, atomically. 0 when it is not writable.
int watcher_guarded_touch(void* address);
/// fn(ucontext, context), or 0 when it faulted. *resume receives the stack pointer to resume with.
DictionaryRef watcher_guarded_place(PlaceOfWriter fn, void* ucontext, DictionaryRef* context, std::uintptr_t* resume);
extern const char watcher_guarded_place_failed[];
}

inline bool guarded_copy(void* to, const void* from, std::size_t bytes) {
  return watcher_guarded_copy(to, from, bytes) == 0;
}
inline bool guarded_touch(void* address) {
  return watcher_guarded_touch(address) != 0;
}

/// Where to go on after a fault at `ip`; 0 when `ip` is no guarded access.
std::uintptr_t guarded_resume(std::uintptr_t ip);

}  // namespace watcher
