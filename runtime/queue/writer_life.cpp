#include "runtime/queue/writer_life.h"

#include <errno.h>
#include <sys/syscall.h>

#include "runtime/base/process_start.h"
#include "runtime/base/raw_syscall.h"
#include "runtime/queue/ring_lock.h"

namespace watcher {

bool WriterLife::alive(int ring_fd, std::uint32_t helper) const {
  if (!holds_lock_) return process_alive();
  if (!ring_lock_held(ring_fd, RingLock::kWriter)) return false;
  return helper == 0 || process_alive() || process_runs(helper);
}

bool WriterLife::lingers(int ring_fd) const {
  return holds_lock_ && !process_alive() && ring_lock_held(ring_fd, RingLock::kWriter);
}

bool WriterLife::ending(int ring_fd, std::uint32_t helper) const {
  return helper != 0 && !process_alive() && alive(ring_fd, helper);
}

bool WriterLife::process_alive() const {
  if (!process_runs(pid_)) return false;
  const std::uint32_t ticks = process_start_ticks(pid_);
  return start_ticks_ == 0 || ticks == 0 || ticks == start_ticks_;
}

}  // namespace watcher
