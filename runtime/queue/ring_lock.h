// Two byte locks on a ring file say who is alive: one held by its writer, one by its collector.
//
// They are open-file-description locks. The kernel lets go of them when the last reference to the description goes, and
// a mapping is a reference: the writer closes its descriptor and keeps its lock until it ends, by whatever means, or
// execs. No pid is involved, so neither a reused pid nor a pid namespace can mislead. (Where the file system maps files
// through another description, as overlayfs does, the writer's lock is gone at its close; WriterLife then asks by pid.)
//
// Zone: signal-safe, raw system calls.
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"

namespace watcher {

enum class RingLock : off_t { kWriter = 0, kCollector = 1 };

inline struct flock ring_lock_request(RingLock which) {
  struct flock request {};
  request.l_type = F_WRLCK;
  request.l_whence = SEEK_SET;
  request.l_start = static_cast<off_t>(which);
  request.l_len = 1;
  return request;
}

/// True when the lock is ours now, through this description.
inline bool take_ring_lock(int fd, RingLock which) {
  struct flock request = ring_lock_request(which);
  return raw_syscall(SYS_fcntl, fd, F_OFD_SETLK, &request) == 0;
}

/// True when somebody else holds it.
inline bool ring_lock_held(int fd, RingLock which) {
  struct flock request = ring_lock_request(which);
  return raw_syscall(SYS_fcntl, fd, F_OFD_GETLK, &request) == 0 && request.l_type != F_UNLCK;
}

}  // namespace watcher
