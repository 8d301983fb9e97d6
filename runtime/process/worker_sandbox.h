// What a worker may do, and what it finds. All but worker_environment is called between fork and exec: no allocation,
// no lock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace watcher {

/// Our environment without what injects code, and without what is ours.
std::vector<std::string> worker_environment();

/// Limits of memory, files and descriptors; behind others for the processors, and the first to go when memory is short.
void limit_worker(std::uint64_t memory_mb);

/// From here on neither this process nor any of its threads can start a process. Where the kernel has no filters for
/// system calls, nothing happens.
void forbid_processes();

}  // namespace watcher
