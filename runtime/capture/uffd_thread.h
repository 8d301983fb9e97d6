// The handler thread of the uffd engine.
//
// It never touches a watched page but through the second mapping, never allocates, never waits for a lock, and blocks
// all signals.
#pragma once

namespace watcher {

/// Starts the thread that serves `descriptor` and sends `signal_number` to storing threads. 0 or an errno. Normal
/// context.
int uffd_thread_start(int descriptor, int signal_number);

}  // namespace watcher
