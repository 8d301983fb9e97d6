#include "runtime/queue/writer_life.h"

#include <errno.h>
#include <sys/syscall.h>

#include "runtime/base/process_start.h"
#include "runtime/base/raw_syscall.h"
#include "runtime/queue/ring_lock.h"

namespace watcher {

bool WriterLife::alive(int ring_fd, bool has_helpers) const {
  const bool locked = !holds_lock_ || ring_lock_held(ring_fd, RingLock::kWriter);
  return locked && ((holds_lock_ && !has_helpers) || process_alive());
}

bool WriterLife::lingers(int ring_fd) const {
  return holds_lock_ && !process_alive() && ring_lock_held(ring_fd, RingLock::kWriter);
}

bool WriterLife::process_alive() const {
  if (!process_runs(pid_)) return false;
  const std::uint32_t ticks = process_start_ticks(pid_);
  return start_ticks_ == 0 || ticks == 0 || ticks == start_ticks_;
}

}  // namespace watcher
