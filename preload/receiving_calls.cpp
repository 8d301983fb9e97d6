// The calls by which the kernel fills a caller's memory from a socket: data, sender's address and control messages.
// A datagram whose buffer cannot be written is lost for good, so nothing here may be left to EFAULT and a second try.
#include <sys/socket.h>
#include <sys/syscall.h>

#include "preload/real_functions.h"
#include "preload/redirection.h"

namespace watcher {
namespace {

/// `call(target, address)` is recvfrom's two destinations.
template <class Call>
ssize_t into_buffer_and_address(void* buffer, size_t bytes, sockaddr* address, socklen_t* address_bytes, Call call) {
  auto* begin = attached(hooks.kernel_write_begin);
  if (begin == nullptr || address == nullptr || address_bytes == nullptr)
    return into_buffer(buffer, bytes, SYS_recvfrom, [=](void* target) { return call(target, address); });
  const socklen_t capacity = *address_bytes;
  Redirection sender(begin, address, capacity);
  const ssize_t arrived = into_buffer(
      buffer, bytes, SYS_recvfrom, [=](void* target) { return call(target, static_cast<sockaddr*>(sender.target())); });
  sender.finish(arrived < 0 ? 0 : *address_bytes, SYS_recvfrom);
  return arrived;
}

ssize_t into_message(int fd, msghdr* message, int flags, KernelWriteBegin begin) {
  msghdr redirected = *message;
  Redirection name(begin, message->msg_name, message->msg_namelen);
  Redirection control(begin, message->msg_control, message->msg_controllen);
  redirected.msg_name = name.target();
  redirected.msg_control = control.target();
  const ssize_t arrived = into_vectors(message->msg_iov, message->msg_iovlen, SYS_recvmsg, [&](const iovec* targets) {
    redirected.msg_iov = const_cast<iovec*>(targets);
    return real::recvmsg(fd, &redirected, flags);
  });
  name.finish(arrived < 0 ? 0 : redirected.msg_namelen, SYS_recvmsg);
  control.finish(arrived < 0 ? 0 : static_cast<ssize_t>(redirected.msg_controllen), SYS_recvmsg);
  if (arrived >= 0) {  // the kernel leaves them alone when it fails
    message->msg_namelen = redirected.msg_namelen;
    message->msg_controllen = redirected.msg_controllen;
    message->msg_flags = redirected.msg_flags;
  }
  return arrived;
}

}  // namespace

WATCHER_INTERPOSER ssize_t recv(int fd, void* buffer, size_t bytes, int flags) {
  return into_buffer(buffer, bytes, SYS_recvfrom, [=](void* target) { return real::recv(fd, target, bytes, flags); });
}

WATCHER_INTERPOSER ssize_t __recv_chk(int fd, void* buffer, size_t bytes, size_t capacity, int flags) {
  return into_buffer(buffer, bytes, SYS_recvfrom,
                     [=](void* target) { return real::__recv_chk(fd, target, bytes, capacity, flags); });
}

WATCHER_INTERPOSER ssize_t recvfrom(int fd, void* buffer, size_t bytes, int flags, sockaddr* address,
                                    socklen_t* address_bytes) {
  return into_buffer_and_address(buffer, bytes, address, address_bytes, [=](void* target, sockaddr* sender) {
    return real::recvfrom(fd, target, bytes, flags, sender, address_bytes);
  });
}

WATCHER_INTERPOSER ssize_t __recvfrom_chk(int fd, void* buffer, size_t bytes, size_t capacity, int flags,
                                          sockaddr* address, socklen_t* address_bytes) {
  return into_buffer_and_address(buffer, bytes, address, address_bytes, [=](void* target, sockaddr* sender) {
    return real::__recvfrom_chk(fd, target, bytes, capacity, flags, sender, address_bytes);
  });
}

WATCHER_INTERPOSER ssize_t recvmsg(int fd, msghdr* message, int flags) {
  auto* begin = attached(hooks.kernel_write_begin);
  if (begin == nullptr || message == nullptr) return real::recvmsg(fd, message, flags);
  return into_message(fd, message, flags, begin);
}

}  // namespace watcher
