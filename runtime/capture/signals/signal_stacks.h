// Alternate signal stacks. Our handlers run on the host's, and need more room there than a small one has: such a stack
// is replaced by one of ours, while the host is told of its own and its handlers of our signals run there.
//
// The calling thread's; any context.
#pragma once

#include <signal.h>

#include <cstddef>

namespace watcher {

/// For the stack that the thread had before we were asked: also taken for too small.
void signal_stack_adopt();
/// The host's stack when ours stands in its place, else null.
const stack_t* replaced_signal_stack();
/// In a forked child: the thread goes by another id.
void signal_stacks_after_fork_child();

}  // namespace watcher
