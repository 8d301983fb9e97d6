// The uffd handler gives way to the thread that it has just woken: under SCHED_IDLE its processor counts as idle, so
// the writer goes on there instead of on another one, which costs several times less. Only in a storm of stores, and
// while nobody else wants the processor: who is idle may wait for seconds behind others, and the host with it. The
// guard looks after that meanwhile.
//
// The handler process, but for priority_guard.
#pragma once

#include <cstdint>

namespace watcher {

/// First of all: lets the guard learn of the handler's end.
void priority_begin();
/// The guard: sleeps until the handler ends, and makes it an ordinary process when it gets no turn. How it ended.
int priority_guard(long handler);
/// Does nothing where the way back to the ordinary policy is not allowed.
void priority_start();
/// Looks from time to time how long the handler had to wait for a processor.
void priority_tend(std::int64_t now_ns);
bool priority_gives_way();
/// The storm is over.
void priority_rest();

}  // namespace watcher
