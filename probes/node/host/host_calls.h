#pragma once

namespace watcher::node {

/// From now on what node asks of the kernel by number, and what may fill watched memory, goes by libc's name for it,
/// which the shim leads. Any thread, once.
void lead_host_calls();

/// The same before node starts, when it makes its first rings: where these would be used and cannot be.
void lead_host_rings();

}  // namespace watcher::node
