// Does the writer of a ring still run? By its lock on the file where that works (see ring_lock.h), else by its pid
// together with the time that process started. Once the lock was seen held, only the lock counts.
#pragma once

#include <cstdint>

namespace watcher {

class WriterLife {
 public:
  WriterLife() = default;
  WriterLife(std::uint32_t pid, std::uint32_t start_ticks) : pid_(pid), start_ticks_(start_ticks) {}

  bool alive(int ring_fd);

 private:
  bool process_alive() const;

  std::uint32_t pid_ = 0;
  std::uint32_t start_ticks_ = 0;
  bool lock_works_ = false;
};

}  // namespace watcher
