// The calls by which the kernel fills a caller's memory from a socket: data, sender's address and control messages.
// A datagram whose buffer cannot be written is lost for good, so nothing here may be left to EFAULT and a second try.
#include <sys/socket.h>
#include <sys/syscall.h>

#include "preload/real_functions.h"
#include "preload/redirection.h"
#include "preload/socket_answers.h"

namespace watcher {
namespace {

/// `call(target, address, address_bytes)` is recvfrom's destinations.
template <class Call>
ssize_t into_buffer_and_address(void* buffer, size_t bytes, sockaddr* address, socklen_t* address_bytes, Call call) {
  return into_answer(SYS_recvfrom, address, address_bytes, [=](sockaddr* sender, socklen_t* sender_bytes) {
    return into_buffer(buffer, bytes, SYS_recvfrom, [=](void* target) { return call(target, sender, sender_bytes); });
  });
}

/// The name and the control data of one message; its vectors are another matter.
class MessageParts {
 public:
  MessageParts(KernelWriteBegin begin, const msghdr& message)
      : name_(begin, message.msg_name, message.msg_namelen),
        control_(begin, message.msg_control, message.msg_controllen) {}

  void point(msghdr* redirected) const {
    redirected->msg_name = name_.target();
    redirected->msg_control = control_.target();
  }

  /// `arrived`: did this message come? The kernel leaves the header alone when it did not.
  void finish(const msghdr& redirected, msghdr* message, bool arrived, int call_number) const {
    name_.finish(arrived ? redirected.msg_namelen : 0, call_number);
    control_.finish(arrived ? static_cast<ssize_t>(redirected.msg_controllen) : 0, call_number);
    if (!arrived) return;
    message->msg_namelen = redirected.msg_namelen;
    message->msg_controllen = redirected.msg_controllen;
    message->msg_flags = redirected.msg_flags;
  }

 private:
  Redirection name_;
  Redirection control_;
};

__attribute__((noinline, cold)) ssize_t into_message(int fd, msghdr* message, int flags, KernelWriteBegin begin) {
  if (!readable(message, sizeof *message)) return real::recvmsg(fd, message, flags);
  msghdr redirected = *message;
  const MessageParts parts(begin, *message);
  parts.point(&redirected);
  const ssize_t arrived = into_vectors(message->msg_iov, message->msg_iovlen, SYS_recvmsg, [&](const iovec* targets) {
    redirected.msg_iov = const_cast<iovec*>(targets);
    return real::recvmsg(fd, &redirected, flags);
  });
  parts.finish(redirected, message, arrived >= 0, SYS_recvmsg);
  return arrived;
}

/// All vectors of `count` messages; SIZE_MAX when there are more than a stack should hold, or one cannot be read.
size_t vectors_of(const mmsghdr* messages, unsigned count) {
  constexpr size_t kMostMessages = 1024, kMostVectors = 4096;
  if (count > kMostMessages || !readable(messages, count * sizeof *messages)) return SIZE_MAX;
  size_t vectors = 0;
  for (unsigned i = 0; i < count; ++i) {
    const msghdr& message = messages[i].msg_hdr;
    if (message.msg_iovlen > kMostVectors - vectors) return SIZE_MAX;
    if (message.msg_iovlen != 0 && !readable(message.msg_iov, message.msg_iovlen * sizeof(iovec))) return SIZE_MAX;
    vectors += message.msg_iovlen;
  }
  return vectors;
}

template <class T>
T* on_stack(void* memory) {
  return static_cast<T*>(memory);
}

__attribute__((noinline, cold)) int into_messages(int fd, mmsghdr* messages, unsigned count, int flags,
                                                  timespec* timeout, KernelWriteBegin begin) {
  const size_t vector_count = vectors_of(messages, count);
  if (vector_count == SIZE_MAX) return real::recvmmsg(fd, messages, count, flags, timeout);
  auto* headers = on_stack<mmsghdr>(__builtin_alloca(count * sizeof(mmsghdr) + 1));
  auto* parts = on_stack<MessageParts>(__builtin_alloca(count * sizeof(MessageParts) + 1));
  auto* vectors = on_stack<iovec>(__builtin_alloca(vector_count * sizeof(iovec) + 1));
  auto* buffers = on_stack<Redirection>(__builtin_alloca(vector_count * sizeof(Redirection) + 1));
  size_t next = 0;
  for (unsigned i = 0; i < count; ++i) {
    headers[i] = messages[i];
    parts[i] = MessageParts(begin, messages[i].msg_hdr);
    parts[i].point(&headers[i].msg_hdr);
    headers[i].msg_hdr.msg_iov = vectors + next;
    for (size_t k = 0; k < messages[i].msg_hdr.msg_iovlen; ++k, ++next) {
      const iovec& vector = messages[i].msg_hdr.msg_iov[k];
      buffers[next] = Redirection(begin, vector.iov_base, vector.iov_len);
      vectors[next] = {buffers[next].target(), vector.iov_len};
    }
  }
  const Redirection left(begin, timeout, sizeof *timeout, true);
  const int arrived = real::recvmmsg(fd, headers, count, flags, static_cast<timespec*>(left.target()));
  next = 0;
  for (unsigned i = 0; i < count; ++i) {
    const bool came = arrived > 0 && i < static_cast<unsigned>(arrived);
    const size_t here = messages[i].msg_hdr.msg_iovlen;
    finish_vectors(buffers + next, messages[i].msg_hdr.msg_iov, here,
                   came ? static_cast<ssize_t>(headers[i].msg_len) : 0, SYS_recvmmsg);
    parts[i].finish(headers[i].msg_hdr, &messages[i].msg_hdr, came, SYS_recvmmsg);
    if (came) messages[i].msg_len = headers[i].msg_len;
    next += here;
  }
  left.finish(arrived > 0 ? static_cast<ssize_t>(sizeof *timeout) : 0, SYS_recvmmsg);
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
  return into_buffer_and_address(buffer, bytes, address, address_bytes,
                                 [=](void* target, sockaddr* sender, socklen_t* sender_bytes) {
                                   return real::recvfrom(fd, target, bytes, flags, sender, sender_bytes);
                                 });
}

WATCHER_INTERPOSER ssize_t __recvfrom_chk(int fd, void* buffer, size_t bytes, size_t capacity, int flags,
                                          sockaddr* address, socklen_t* address_bytes) {
  return into_buffer_and_address(
      buffer, bytes, address, address_bytes, [=](void* target, sockaddr* sender, socklen_t* sender_bytes) {
        return real::__recvfrom_chk(fd, target, bytes, capacity, flags, sender, sender_bytes);
      });
}

WATCHER_INTERPOSER ssize_t recvmsg(int fd, msghdr* message, int flags) {
  auto* begin = attached(hooks.kernel_write_begin);
  if (begin == nullptr || message == nullptr) return real::recvmsg(fd, message, flags);
  return into_message(fd, message, flags, begin);
}

WATCHER_INTERPOSER int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  auto* begin = attached(hooks.kernel_write_begin);
  if (begin == nullptr) return real::recvmmsg(fd, messages, count, flags, timeout);
  return into_messages(fd, messages, count, flags, timeout, begin);
}

}  // namespace watcher
