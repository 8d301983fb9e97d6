// When a process started, in clock ticks since boot: together with the pid it names a process for good, where the pid
// alone may be used again.
//
// Zone: signal-safe; raw system calls, no allocation.
#pragma once

#include <cstdint>

namespace watcher {

/// Low 32 bits of the start time; 0 when the process is gone or /proc is not to be had.
std::uint32_t process_start_ticks(std::uint32_t pid);

}  // namespace watcher
