// What the kernel tells about the process, its time and the machine. The clocks count: the vDSO's stores are the
// thread's own, but for some clocks, and on some machines for all, it asks the kernel.
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "preload/filling.h"
#include "preload/real_functions.h"

namespace watcher {
namespace {

Destination<gid_t> group_list(gid_t* groups, int most) {
  return by_items(groups, most > 0 ? static_cast<size_t>(most) : 0);
}

}  // namespace

// Clocks and timers.

WATCHER_INTERPOSER int clock_gettime(clockid_t clock, timespec* now) noexcept {
  return fill(SYS_clock_gettime, real::clock_gettime, clock, out(now));
}
WATCHER_INTERPOSER int clock_getres(clockid_t clock, timespec* resolution) noexcept {
  return fill(SYS_clock_getres, real::clock_getres, clock, out(resolution));
}
WATCHER_INTERPOSER int gettimeofday(timeval* __restrict now, void* __restrict zone) noexcept {
  return fill(SYS_gettimeofday, real::gettimeofday, out(now), out(static_cast<struct timezone*>(zone)));
}
WATCHER_INTERPOSER time_t time(time_t* now) noexcept {
  return fill(SYS_time, real::time, out(now));
}
WATCHER_INTERPOSER clock_t times(tms* usage) noexcept {
  return fill(SYS_times, real::times, changed(usage));
}
WATCHER_INTERPOSER int getitimer(__itimer_which_t which, itimerval* value) noexcept {
  return fill(SYS_getitimer, real::getitimer, which, out(value));
}
WATCHER_INTERPOSER int setitimer(__itimer_which_t which, const itimerval* value, itimerval* previous) noexcept {
  return fill(SYS_setitimer, real::setitimer, which, value, out(previous));
}
WATCHER_INTERPOSER int timer_gettime(timer_t timer, itimerspec* value) noexcept {
  return fill(SYS_timer_gettime, real::timer_gettime, timer, out(value));
}
WATCHER_INTERPOSER int timer_settime(timer_t timer, int flags, const itimerspec* value, itimerspec* previous) noexcept {
  return fill(SYS_timer_settime, real::timer_settime, timer, flags, value, out(previous));
}
WATCHER_INTERPOSER int timerfd_gettime(int fd, itimerspec* value) noexcept {
  return fill(SYS_timerfd_gettime, real::timerfd_gettime, fd, out(value));
}
WATCHER_INTERPOSER int timerfd_settime(int fd, int flags, const itimerspec* value, itimerspec* previous) noexcept {
  return fill(SYS_timerfd_settime, real::timerfd_settime, fd, flags, value, out(previous));
}

// Limits and use.

WATCHER_INTERPOSER int getrlimit(__rlimit_resource_t resource, struct rlimit* limit) noexcept {
  return fill(SYS_prlimit64, real::getrlimit, resource, out(limit));
}
WATCHER_INTERPOSER int getrlimit64(__rlimit_resource_t resource, struct rlimit64* limit) noexcept {
  return fill(SYS_prlimit64, real::getrlimit64, resource, out(limit));
}
WATCHER_INTERPOSER int prlimit(pid_t process, __rlimit_resource resource, const struct rlimit* limit,
                               struct rlimit* previous) noexcept {
  return fill(SYS_prlimit64, real::prlimit, process, resource, limit, out(previous));
}
WATCHER_INTERPOSER int prlimit64(pid_t process, __rlimit_resource resource, const struct rlimit64* limit,
                                 struct rlimit64* previous) noexcept {
  return fill(SYS_prlimit64, real::prlimit64, process, resource, limit, out(previous));
}
WATCHER_INTERPOSER int getrusage(__rusage_who_t who, struct rusage* usage) noexcept {
  return fill(SYS_getrusage, real::getrusage, who, out(usage));
}
WATCHER_INTERPOSER int sched_getaffinity(pid_t process, size_t bytes, cpu_set_t* processors) noexcept {
  return fill(SYS_sched_getaffinity, real::sched_getaffinity, process, bytes, in_out(processors, bytes));
}
WATCHER_INTERPOSER int sched_getparam(pid_t process, sched_param* parameters) noexcept {
  return fill(SYS_sched_getparam, real::sched_getparam, process, out(parameters));
}
WATCHER_INTERPOSER int sched_rr_get_interval(pid_t process, timespec* interval) noexcept {
  return fill(SYS_sched_rr_get_interval, real::sched_rr_get_interval, process, out(interval));
}
WATCHER_INTERPOSER int mincore(void* start, size_t bytes, unsigned char* resident) noexcept {
  return fill(SYS_mincore, real::mincore, start, bytes, out(resident, bytes / 4096 + (bytes % 4096 != 0)));
}

// Identity.

WATCHER_INTERPOSER int getgroups(int most, gid_t* groups) noexcept {
  return fill(SYS_getgroups, real::getgroups, most, group_list(groups, most));
}
WATCHER_INTERPOSER int __getgroups_chk(int most, gid_t* groups, size_t capacity) noexcept {
  return fill(SYS_getgroups, real::__getgroups_chk, most, group_list(groups, most), capacity);
}
WATCHER_INTERPOSER int getresuid(uid_t* actual, uid_t* effective, uid_t* saved) noexcept {
  return fill(SYS_getresuid, real::getresuid, out(actual), out(effective), out(saved));
}
WATCHER_INTERPOSER int getresgid(gid_t* actual, gid_t* effective, gid_t* saved) noexcept {
  return fill(SYS_getresgid, real::getresgid, out(actual), out(effective), out(saved));
}
WATCHER_INTERPOSER int uname(utsname* names) noexcept {
  return fill(SYS_uname, real::uname, out(names));
}
WATCHER_INTERPOSER int sysinfo(struct sysinfo* info) noexcept {
  return fill(SYS_sysinfo, real::sysinfo, out(info));
}

WATCHER_INTERPOSER int getentropy(void* buffer, size_t bytes) {
  return fill(SYS_getrandom, real::getentropy, out(static_cast<char*>(buffer), bytes), bytes);
}

}  // namespace watcher
