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

  /// `has_helpers`: the lock is also held by processes that share the writer's memory, and outlive it for a moment.
  bool alive(int ring_fd, bool has_helpers) const;
  /// Its process is gone as far as its pid tells, but its lock is not: something that shares its memory is about to end,
  /// or it lives where pids are others.
  bool lingers(int ring_fd) const;

 private:
  bool process_alive() const;

  std::uint32_t pid_ = 0;
  std::uint32_t start_ticks_ = 0;
  bool holds_lock_ = false;
};

}  // namespace watcher
