// Where the threads of the process have their stacks and thread control blocks: memory that must stay writable, because
// the kernel pushes signal frames there and our own handlers keep their state in it.
//
// Normal context, any thread. Not found: stacks of threads made by a bare clone(), and those of coroutines.
#pragma once

#include <cstdint>

#include "runtime/capture/regions/self_memory.h"

namespace watcher {

/// How much thread-local storage lies below a thread pointer; asked once, as it takes the loader's lock.
void measure_thread_block();

/// The calling thread forks: in the child it is the main thread, on the stack that it has. The child says so.
void note_forking_thread();
void note_forked_child();

/// Does a page of [begin, end) belong to the calling thread's stack or block?
bool touches_own_thread(std::uintptr_t begin, std::uintptr_t end);
/// The same of any thread. `mapping` is one that holds a part of the range: stacks in other mappings are not met.
bool touches_any_thread(std::uintptr_t begin, std::uintptr_t end, const Mapping& mapping);

}  // namespace watcher
