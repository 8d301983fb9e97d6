#pragma once

namespace watcher::node {

/// From now on what node asks of the kernel by number, and what may fill watched memory, goes by libc's name for it,
/// which the shim leads. Any thread, once.
void lead_host_calls();

}  // namespace watcher::node
