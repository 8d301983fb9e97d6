// The next definitions behind our interposers: libc's, or those of another preloaded library.
//
// Any thread, any context. The names a signal handler or a vfork child may be the first to call are resolved when the
// shim is loaded, because dlsym takes the loader's lock; every name resolves by itself when it is called before that.
#pragma once

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

// What _FORTIFY_SOURCE turns the calls into; the headers declare them only under it. musl has none of them.
extern "C" {
ssize_t __read_chk(int, void*, size_t, size_t);
ssize_t __pread_chk(int, void*, size_t, off_t, size_t);
ssize_t __pread64_chk(int, void*, size_t, off64_t, size_t);
ssize_t __recv_chk(int, void*, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void*, size_t, size_t, int, struct sockaddr*, socklen_t*);
size_t __fread_chk(void*, size_t, size_t, size_t, FILE*);
size_t __fread_unlocked_chk(void*, size_t, size_t, size_t, FILE*);
char* __fgets_chk(char*, size_t, int, FILE*);
char* __fgets_unlocked_chk(char*, size_t, int, FILE*);
}

// clang-format off
#define WATCHER_FUNCTIONS_RESOLVED_EARLY(X) \
  X(free) X(realloc) X(read) X(pread) X(pread64) X(readv) X(recv) X(recvfrom) X(recvmsg) \
  X(sigaction) X(signal) X(sigprocmask) X(pthread_sigmask) X(_exit) X(_Exit)
#define WATCHER_FUNCTIONS_RESOLVED_LATE(X) \
  X(malloc_usable_size) X(preadv) X(preadv64) X(preadv2) X(preadv64v2) X(getrandom) \
  X(fread) X(fread_unlocked) X(fgets) X(fgets_unlocked) \
  X(__read_chk) X(__pread_chk) X(__pread64_chk) X(__recv_chk) X(__recvfrom_chk) \
  X(__fread_chk) X(__fread_unlocked_chk) X(__fgets_chk) X(__fgets_unlocked_chk)
// clang-format on

namespace watcher {

class NextSymbol {
 public:
  constexpr explicit NextSymbol(const char* name) : name_(name) {}

  /// Null when nobody behind us defines the name, and while this very thread is resolving it.
  void* address() {
    // Relaxed: every thread resolves to the same address, which publishes nothing else.
    void* known = __atomic_load_n(&address_, __ATOMIC_RELAXED);
    return __builtin_expect(known != nullptr, 1) ? known : resolve();
  }

 private:
  __attribute__((cold)) void* resolve();

  const char* name_;
  void* address_ = nullptr;
};

/// Calls the real function. Where libc lacks it the call fails with ENOSYS: -1, null, or a count of 0.
template <class Function>
class RealFunction : public NextSymbol {
 public:
  using NextSymbol::NextSymbol;

  template <class... Arguments>
  auto operator()(Arguments... arguments) {
    auto* function = reinterpret_cast<Function*>(address());
    using Value = decltype(function(arguments...));
    if (__builtin_expect(function == nullptr, 0)) return missing<Value>();
    return function(arguments...);
  }

 private:
  template <class Value>
  static Value missing() {
    if constexpr (__is_same(Value, void)) return;  // free promises to leave errno alone
    errno = ENOSYS;
    if constexpr (__is_same(Value, int) || __is_same(Value, ssize_t))
      return -1;
    else
      return Value();
  }
};

namespace real {
#define WATCHER_DECLARE(name) extern RealFunction<decltype(::name)> name;
WATCHER_FUNCTIONS_RESOLVED_EARLY(WATCHER_DECLARE)
WATCHER_FUNCTIONS_RESOLVED_LATE(WATCHER_DECLARE)
#undef WATCHER_DECLARE

void resolve_early();
}  // namespace real
}  // namespace watcher
