// The next definitions behind our interposers: libc's, or those of another preloaded library.
//
// Any thread, any context. The names a signal handler or a vfork child may be the first to call are resolved when the
// shim is loaded, because dlsym takes the loader's lock; every name resolves by itself when it is called before that.
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "preload/rare_functions.h"

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
char* __getcwd_chk(char*, size_t, size_t) noexcept;
ssize_t __readlink_chk(const char*, char*, size_t, size_t) noexcept;
ssize_t __readlinkat_chk(int, const char*, char*, size_t, size_t) noexcept;
sighandler_t bsd_signal(int, sighandler_t) noexcept;
int __getgroups_chk(int, gid_t*, size_t) noexcept;
int __poll_chk(struct pollfd*, nfds_t, int, size_t);
int __ppoll_chk(struct pollfd*, nfds_t, const struct timespec*, const sigset_t*, size_t);
// And what older headers turned stat into.
int __xstat(int, const char*, struct stat*);
int __xstat64(int, const char*, struct stat64*);
int __lxstat(int, const char*, struct stat*);
int __lxstat64(int, const char*, struct stat64*);
int __fxstat(int, int, struct stat*);
int __fxstat64(int, int, struct stat64*);
int __fxstatat(int, int, const char*, struct stat*, int);
int __fxstatat64(int, int, const char*, struct stat64*, int);
}

// clang-format off
#define WATCHER_FUNCTIONS_RESOLVED_EARLY(X) \
  X(free) X(realloc) X(read) X(pread) X(pread64) X(readv) X(recv) X(recvfrom) X(recvmsg) \
  X(sigaction) X(signal) X(sigprocmask) X(pthread_sigmask) X(_exit) X(_Exit) \
  X(poll) X(ppoll) X(select) X(pselect) X(epoll_wait) X(epoll_pwait) X(sigaltstack) X(wait) X(waitpid) X(wait4) X(waitid) \
  X(nanosleep) X(clock_nanosleep) X(sigpending) X(sigsuspend) X(sigtimedwait) X(accept) X(accept4) X(getsockname) X(getpeername) \
  X(getsockopt) X(pipe) X(pipe2) X(socketpair) X(fcntl) X(ioctl) X(stat) X(lstat) X(fstat) X(fstatat) \
  X(readlink) X(readlinkat) X(getcwd) X(clock_gettime) X(gettimeofday) X(time) X(times) X(getrlimit) X(getrusage) \
  X(getgroups) X(uname) X(mmap) X(mmap64) X(munmap) X(mremap) X(madvise) X(mprotect) X(brk) X(sbrk)
#define WATCHER_FUNCTIONS_RESOLVED_LATE(X) \
  X(malloc_usable_size) X(pkey_mprotect) X(pthread_attr_setsigmask_np) X(preadv) X(preadv64) X(preadv2) X(preadv64v2) X(getrandom) \
  X(fread) X(fread_unlocked) X(fgets) X(fgets_unlocked) X(__read_chk) X(__pread_chk) X(__pread64_chk) X(__recv_chk) X(__recvfrom_chk) \
  X(__fread_chk) X(__fread_unlocked_chk) X(__fgets_chk) X(__fgets_unlocked_chk) \
  X(stat64) X(lstat64) X(fstat64) X(fstatat64) X(statx) X(__xstat) X(__xstat64) X(__lxstat) X(__lxstat64) \
  X(__fxstat) X(__fxstat64) X(__fxstatat) X(__fxstatat64) X(statfs) X(statfs64) X(fstatfs) X(fstatfs64) \
  X(__getcwd_chk) X(__readlink_chk) X(__readlinkat_chk) X(getxattr) X(lgetxattr) X(fgetxattr) X(listxattr) \
  X(llistxattr) X(flistxattr) X(getdents64) X(__poll_chk) X(__ppoll_chk) X(epoll_pwait2) X(wait3) X(sigwaitinfo) \
  X(clock_getres) X(getitimer) X(setitimer) X(timer_gettime) X(timer_settime) X(timerfd_gettime) X(timerfd_settime) \
  X(getrlimit64) X(prlimit) X(prlimit64) X(sched_getaffinity) X(sched_getparam) X(sched_rr_get_interval) X(mincore) \
  X(__getgroups_chk) X(getresuid) X(getresgid) X(sysinfo) X(getentropy) X(sendfile) X(sendfile64) X(splice) \
  X(copy_file_range) X(mq_receive) X(mq_timedreceive) X(msgrcv) X(process_vm_readv) X(prctl) X(recvmmsg) \
  X(bsd_signal) X(ssignal) X(sysv_signal) X(__sysv_signal) X(sigset) X(sigignore) X(sighold) X(sigrelse) X(siginterrupt)
// clang-format on

namespace watcher {

class NextSymbol {
 public:
  constexpr explicit NextSymbol(const char* name) : name_(name) {}

  /// Null when nobody behind us defines the name, and while this very thread is resolving it.
  void* address() { return known() ?: resolve(); }

  /// Null before the first look. Relaxed: every thread resolves to the same address, which publishes nothing else.
  void* known() const { return __atomic_load_n(&address_, __ATOMIC_RELAXED); }

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
WATCHER_RARE_FUNCTIONS(WATCHER_DECLARE)
#undef WATCHER_DECLARE

void resolve_early();
}  // namespace real
}  // namespace watcher
