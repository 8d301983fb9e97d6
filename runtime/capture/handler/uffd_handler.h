// The handler process of the uffd engine, and the guard that waits for its end.
//
// It never touches a watched page but to read it, never allocates, never waits for a lock, and takes no signals.
#pragma once

namespace watcher {

/// Starts both. 0 or an errno. Normal context, or in a forked child.
int uffd_handler_start(int signal_number);
/// In a forked child: the parent's handler knows nothing of us.
void uffd_handler_forget();

}  // namespace watcher
