// What /proc/PID/stat says of a process: whether it runs, and when it started, in clock ticks since boot. Pid and start
// together name a process for good, where the pid alone may be used again.
//
// Zone: signal-safe; raw system calls, no allocation.
#pragma once

#include <cstdint>

namespace watcher {

/// Low 32 bits of the start time; 0 when the process is gone or /proc is not to be had.
std::uint32_t process_start_ticks(std::uint32_t pid);

/// The letter of /proc/PID/stat ('R' runs or would, 'D' waits for a disk, 'S' sleeps, …), '?' where /proc is not to be
/// had, 0 for a process that is gone, or has ended and waits for its parent, which may never come.
char process_state(std::uint32_t pid);
inline bool process_runs(std::uint32_t pid) {
  return process_state(pid) != 0;
}

/// Stopped by a signal or a tracer.
constexpr bool is_stopped(char state) {
  return state == 'T' || state == 't';
}

struct ProcessActivity {
  char state = 0;               // as /proc has it: R, S, D, T, …; 0: no such process
  std::uint32_t cpu_ticks = 0;  // of all its threads so far, modulo 2^32
};
ProcessActivity process_activity(std::uint32_t pid);

}  // namespace watcher
