// Sends the kernel's writes where they may go: a call is given another address for memory that is watched.
//
// Any thread, any context; nothing here allocates. Without a runtime each template is one load, one branch and the
// call.
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "preload/attached_runtime.h"

namespace watcher {

using KernelWriteBegin = decltype(watcher_runtime_hooks::kernel_write_begin);

/// Structures of the host that we read before the kernel does: a pointer that is none must get its EFAULT, not a
/// signal. A futex is asked because every sandbox allows it and it changes nothing; memory is there or not by the page.
bool readable(const void* memory, size_t bytes);

/// One buffer of a call, from just before the call to just after it.
class Redirection {
 public:
  /// `keeps`: the call reads the buffer too, or may leave parts of it as they are.
  Redirection(KernelWriteBegin begin, void* buffer, size_t bytes, bool keeps = false)
      : buffer_(buffer), target_(buffer), bytes_(bytes) {
    if (buffer == nullptr || bytes == 0) return;
    ErrnoKeeper keeper;
    token_ = keeps ? WATCHER_KERNEL_WRITE_KEEPS : 0;
    target_ = begin(buffer, bytes, &token_);
    if (target_ == buffer && token_ == WATCHER_KERNEL_WRITE_KEEPS) token_ = 0;
  }

  /// Not the same as another target: short of memory, the runtime opens the host's own pages for the call.
  bool active() const { return token_ != 0; }
  void* target() const { return target_; }
  size_t bytes() const { return bytes_; }

  /// `arrived` is what the call reported: negative on failure, above the size for MSG_TRUNC.
  void finish(ssize_t arrived, int call_number) const {
    if (!active()) return;
    const size_t written = arrived < 0 ? 0 : static_cast<size_t>(arrived);
    ErrnoKeeper keeper;
    if (auto* end = attached(hooks.kernel_write_end))
      end(buffer_, written < bytes_ ? written : bytes_, token_, call_number);
  }

 private:
  void* buffer_;
  void* target_;
  size_t bytes_;
  uint64_t token_ = 0;
};

// Out of line, so that the forwarding path saves no register for it.
template <class Call>
__attribute__((noinline, cold)) ssize_t redirect_buffer(KernelWriteBegin begin, void* buffer, size_t bytes,
                                                        int call_number, Call call) {
  Redirection redirection(begin, buffer, bytes);
  const ssize_t arrived = call(redirection.target());
  redirection.finish(arrived, call_number);
  return arrived;
}

/// `call(target)` fills one buffer and returns the bytes it got, or -1.
template <class Call>
inline ssize_t into_buffer(void* buffer, size_t bytes, int call_number, Call call) {
  auto* begin = attached(hooks.kernel_write_begin);
  return begin == nullptr ? call(buffer) : redirect_buffer(begin, buffer, bytes, call_number, call);
}

/// Tells the runtime how much of `arrived` went into each vector, in the order in which the kernel fills them.
inline void finish_vectors(const Redirection* redirections, const iovec* vectors, size_t count, ssize_t arrived,
                           int call_number) {
  size_t left = arrived < 0 ? 0 : static_cast<size_t>(arrived);
  for (size_t i = 0; i < count; ++i) {
    const size_t here = left < vectors[i].iov_len ? left : vectors[i].iov_len;
    redirections[i].finish(static_cast<ssize_t>(here), call_number);
    left -= here;
  }
}

// The copies are as long as the list: at most 48 KiB of stack, for 1,024 vectors.
template <class Call>
__attribute__((noinline, cold)) ssize_t redirect_vectors(KernelWriteBegin begin, const iovec* vectors, size_t count,
                                                         int call_number, Call call) {
  auto* redirected = static_cast<iovec*>(__builtin_alloca(count * sizeof(iovec)));
  auto* redirections = static_cast<Redirection*>(__builtin_alloca(count * sizeof(Redirection)));
  for (size_t i = 0; i < count; ++i) {
    redirections[i] = Redirection(begin, vectors[i].iov_base, vectors[i].iov_len);
    redirected[i] = {redirections[i].target(), vectors[i].iov_len};
  }
  const ssize_t arrived = call(redirected);
  finish_vectors(redirections, vectors, count, arrived, call_number);
  return arrived;
}

/// `call(vectors)` scatters over many buffers. A list that the kernel would refuse is left to it.
template <class Call>
inline ssize_t into_vectors(const iovec* vectors, size_t count, int call_number, Call call) {
  auto* begin = attached(hooks.kernel_write_begin);
  if (begin == nullptr || vectors == nullptr || count == 0 || count > IOV_MAX ||
      !readable(vectors, count * sizeof *vectors))
    return call(vectors);
  return redirect_vectors(begin, vectors, count, call_number, call);
}

}  // namespace watcher
