// Calls between descriptors, queues and processes: the offsets they move, the pairs they open, the messages they take.
#include <fcntl.h>
#include <mqueue.h>
#include <sys/msg.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload/filling.h"
#include "preload/real_functions.h"

namespace watcher {
namespace {

/// The text stands behind its type, a word that neither `bytes` nor the result counts.
__attribute__((noinline, cold)) ssize_t redirect_message(KernelWriteBegin begin, int queue, void* message, size_t bytes,
                                                         long type, int flags) {
  if (bytes > SSIZE_MAX - sizeof(long)) return real::msgrcv(queue, message, bytes, type, flags);
  Redirection redirection(begin, message, sizeof(long) + bytes);
  const ssize_t arrived = real::msgrcv(queue, redirection.target(), bytes, type, flags);
  redirection.finish(arrived < 0 ? -1 : arrived + static_cast<ssize_t>(sizeof(long)), SYS_msgrcv);
  return arrived;
}

}  // namespace

WATCHER_INTERPOSER ssize_t sendfile(int to, int from, off_t* offset, size_t bytes) noexcept {
  return fill(SYS_sendfile, real::sendfile, to, from, in_out(offset), bytes);
}
WATCHER_INTERPOSER ssize_t sendfile64(int to, int from, off64_t* offset, size_t bytes) noexcept {
  return fill(SYS_sendfile, real::sendfile64, to, from, in_out(offset), bytes);
}
WATCHER_INTERPOSER ssize_t splice(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t bytes,
                                  unsigned flags) {
  return fill(SYS_splice, real::splice, from, in_out(from_offset), to, in_out(to_offset), bytes, flags);
}
WATCHER_INTERPOSER ssize_t copy_file_range(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t bytes,
                                           unsigned flags) {
  return fill(SYS_copy_file_range, real::copy_file_range, from, in_out(from_offset), to, in_out(to_offset), bytes,
              flags);
}

WATCHER_INTERPOSER int pipe(int* ends) noexcept {
  return fill(SYS_pipe, real::pipe, out(ends, 2 * sizeof(int)));
}
WATCHER_INTERPOSER int pipe2(int* ends, int flags) noexcept {
  return fill(SYS_pipe2, real::pipe2, out(ends, 2 * sizeof(int)), flags);
}
WATCHER_INTERPOSER int socketpair(int domain, int type, int protocol, int* ends) noexcept {
  return fill(SYS_socketpair, real::socketpair, domain, type, protocol, out(ends, 2 * sizeof(int)));
}

WATCHER_INTERPOSER ssize_t mq_receive(mqd_t queue, char* message, size_t bytes, unsigned* priority) {
  return fill(SYS_mq_timedreceive, real::mq_receive, queue, by_result(message, bytes), bytes, out(priority));
}
WATCHER_INTERPOSER ssize_t mq_timedreceive(mqd_t queue, char* __restrict message, size_t bytes,
                                           unsigned* __restrict priority, const timespec* __restrict until) {
  return fill(SYS_mq_timedreceive, real::mq_timedreceive, queue, by_result(message, bytes), bytes, out(priority),
              until);
}

WATCHER_INTERPOSER ssize_t msgrcv(int queue, void* message, size_t bytes, long type, int flags) {
  auto* begin = attached(hooks.kernel_write_begin);
  return begin == nullptr ? real::msgrcv(queue, message, bytes, type, flags)
                          : redirect_message(begin, queue, message, bytes, type, flags);
}

WATCHER_INTERPOSER ssize_t process_vm_readv(pid_t process, const iovec* local, unsigned long local_count,
                                            const iovec* remote, unsigned long remote_count,
                                            unsigned long flags) noexcept {
  return into_vectors(local, local_count, SYS_process_vm_readv, [=](const iovec* targets) {
    return real::process_vm_readv(process, targets, local_count, remote, remote_count, flags);
  });
}

}  // namespace watcher
