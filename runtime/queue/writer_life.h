// Does the writer of a ring still run? By its lock on the file where that works (see ring_lock.h), else by its pid
// together with the time that process started.
#pragma once

#include <cstdint>

namespace watcher {

class WriterLife {
 public:
  WriterLife() = default;
  WriterLife(std::uint32_t pid, std::uint32_t start_ticks, bool holds_lock)
      : pid_(pid), start_ticks_(start_ticks), holds_lock_(holds_lock) {}

  /// `helper`: a process that shares the writer's memory and so its lock, and outlives it for the moment in which it
  /// writes the last events; 0: there is none.
  bool alive(int ring_fd, std::uint32_t helper) const;
  /// Its process is gone as far as its pid tells, but its lock is not: something that shares its memory is about to end,
  /// or it lives where pids are others.
  bool lingers(int ring_fd) const;
  /// Only the helper is still there.
  bool ending(int ring_fd, std::uint32_t helper) const;

 private:
  bool process_alive() const;

  std::uint32_t pid_ = 0;
  std::uint32_t start_ticks_ = 0;
  bool holds_lock_ = false;
};

}  // namespace watcher
