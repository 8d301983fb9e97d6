// Calls that wait, and tell for what: descriptors, children, signals, time that is left. Cancellation points, so none
// of them is noexcept unless libc declares it so.
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "preload/filling.h"
#include "preload/real_functions.h"
#include "preload/signal_words.h"

namespace watcher {
namespace {

Destination<pollfd> polled(pollfd* files, nfds_t count) {
  return in_out(files, count <= SIZE_MAX / sizeof(pollfd) ? count * sizeof(pollfd) : 0);
}

/// The kernel works on whole words of a set, and libc passes as many as the highest descriptor needs.
Destination<fd_set> selected(fd_set* set, int count) {
  const size_t words = count > 0 ? (static_cast<size_t>(count) + 63) / 64 : 0;
  return in_out(set, words * sizeof(uint64_t));
}

Destination<epoll_event> reported(epoll_event* events, int most) {
  return by_items(events, most > 0 ? static_cast<size_t>(most) : 0);
}

}  // namespace

WATCHER_INTERPOSER int poll(pollfd* files, nfds_t count, int timeout_ms) {
  return fill(SYS_poll, real::poll, polled(files, count), count, timeout_ms);
}
WATCHER_INTERPOSER int __poll_chk(pollfd* files, nfds_t count, int timeout_ms, size_t capacity) {
  return fill(SYS_poll, real::__poll_chk, polled(files, count), count, timeout_ms, capacity);
}
WATCHER_INTERPOSER int ppoll(pollfd* files, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  return fill(SYS_ppoll, real::ppoll, polled(files, count), count, timeout, PassingMask(mask).get());
}
WATCHER_INTERPOSER int __ppoll_chk(pollfd* files, nfds_t count, const timespec* timeout, const sigset_t* mask,
                                   size_t capacity) {
  return fill(SYS_ppoll, real::__ppoll_chk, polled(files, count), count, timeout, PassingMask(mask).get(), capacity);
}

WATCHER_INTERPOSER int select(int count, fd_set* reading, fd_set* writing, fd_set* failing, timeval* timeout) {
  return fill(SYS_select, real::select, count, selected(reading, count), selected(writing, count),
              selected(failing, count), changed(timeout));
}
WATCHER_INTERPOSER int pselect(int count, fd_set* reading, fd_set* writing, fd_set* failing, const timespec* timeout,
                               const sigset_t* mask) {
  return fill(SYS_pselect6, real::pselect, count, selected(reading, count), selected(writing, count),
              selected(failing, count), timeout, PassingMask(mask).get());
}

WATCHER_INTERPOSER int epoll_wait(int fd, epoll_event* events, int most, int timeout_ms) {
  return fill(SYS_epoll_wait, real::epoll_wait, fd, reported(events, most), most, timeout_ms);
}
WATCHER_INTERPOSER int epoll_pwait(int fd, epoll_event* events, int most, int timeout_ms, const sigset_t* mask) {
  return fill(SYS_epoll_pwait, real::epoll_pwait, fd, reported(events, most), most, timeout_ms,
              PassingMask(mask).get());
}
WATCHER_INTERPOSER int epoll_pwait2(int fd, epoll_event* events, int most, const timespec* timeout,
                                    const sigset_t* mask) {
  return fill(SYS_epoll_pwait2, real::epoll_pwait2, fd, reported(events, most), most, timeout, PassingMask(mask).get());
}

// Children.

WATCHER_INTERPOSER pid_t wait(int* status) {
  return fill(SYS_wait4, real::wait, out_if_positive(status));
}
WATCHER_INTERPOSER pid_t waitpid(pid_t child, int* status, int options) {
  return fill(SYS_wait4, real::waitpid, child, out_if_positive(status), options);
}
WATCHER_INTERPOSER pid_t wait3(int* status, int options, rusage* usage) noexcept {
  return fill(SYS_wait4, real::wait3, out_if_positive(status), options, out_if_positive(usage));
}
WATCHER_INTERPOSER pid_t wait4(pid_t child, int* status, int options, rusage* usage) noexcept {
  return fill(SYS_wait4, real::wait4, child, out_if_positive(status), options, out_if_positive(usage));
}
WATCHER_INTERPOSER int waitid(idtype_t kind, id_t child, siginfo_t* info, int options) {
  return fill(SYS_waitid, real::waitid, kind, child, in_out(info), options);
}

// Signals. Ours may stand in the sets: they are sent to a thread that stores, which is none that waits here or reads a
// signalfd.

WATCHER_INTERPOSER int sigpending(sigset_t* set) noexcept {
  return fill(SYS_rt_sigpending, real::sigpending, in_out(set));
}
WATCHER_INTERPOSER int sigwaitinfo(const sigset_t* set, siginfo_t* info) {
  return fill(SYS_rt_sigtimedwait, real::sigwaitinfo, set, out(info));
}
WATCHER_INTERPOSER int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  return fill(SYS_rt_sigtimedwait, real::sigtimedwait, set, out(info), timeout);
}

WATCHER_INTERPOSER int sigsuspend(const sigset_t* mask) {
  return real::sigsuspend(PassingMask(mask).get());
}

// Time that is left when a signal ends the sleep.

WATCHER_INTERPOSER int nanosleep(const timespec* duration, timespec* left) {
  return fill(SYS_nanosleep, real::nanosleep, duration, changed(left));
}
WATCHER_INTERPOSER int clock_nanosleep(clockid_t clock, int flags, const timespec* until, timespec* left) {
  return fill(SYS_clock_nanosleep, real::clock_nanosleep, clock, flags, until, changed(left));
}

}  // namespace watcher
