#include "runtime/capture/handler/handler_priority.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/handler/helper_process.h"

namespace watcher {
namespace {

constexpr std::int64_t kLookNs = 1'000'000;
constexpr std::uint64_t kLongestWaitNs = 300'000;       // for a processor, a turn, between two looks
constexpr std::int64_t kOrdinaryForNs = 1'000'000'000;  // after a longer one
constexpr std::uint64_t kTurnsOfStorm = 8;              // between two looks that are
constexpr std::int64_t kNearNs = 3 * kLookNs;           // each other
constexpr std::int64_t kRescueNs = 10'000'000;          // without a sign of life, while it gives way
constexpr std::uint64_t kShortWaitNs = 30'000;          // for a processor that nobody else wants

constinit long statistics = -1;  // /proc/self/schedstat: time run, time waited, turns
struct Turns {
  std::uint64_t waited_ns = 0;
  std::uint64_t count = 0;
};
constinit Turns told;
constinit std::int64_t told_ns = 0;
constinit std::int64_t next_look_ns = 0;
constinit bool gives_way = false;

// What the guard sleeps on. The kernel writes the 0, and wakes, when the handler ends.
enum State : std::uint32_t { kEnded, kOrdinary, kGivesWay };
constinit std::atomic<std::uint32_t> state{kOrdinary};
constinit std::atomic<std::uint32_t> signs_of_life{0};

void give_way(bool on) {
  const sched_param none = {};
  raw_syscall(SYS_sched_setscheduler, 0, on ? SCHED_IDLE : SCHED_OTHER, &none);
  gives_way = on;
  state.store(on ? kGivesWay : kOrdinary, std::memory_order_release);
  if (on) raw_syscall(SYS_futex, &state, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

/// From SCHED_IDLE back to the ordinary policy takes the right to raise a priority.
bool may_come_back() {
  if (raw_syscall(SYS_setpriority, PRIO_PROCESS, 0, -1) != 0) return false;
  raw_syscall(SYS_setpriority, PRIO_PROCESS, 0, 0);
  return true;
}

Turns turns_so_far() {
  char text[96];
  const long bytes = raw_syscall(SYS_pread64, statistics, text, sizeof text, 0);
  std::uint64_t fields[3] = {};
  for (long at = 0, field = 0; at < bytes && field < 3; ++at) {
    if (text[at] >= '0' && text[at] <= '9')
      fields[field] = fields[field] * 10 + static_cast<std::uint64_t>(text[at] - '0');
    else
      ++field;
  }
  return {fields[1], fields[2]};
}

}  // namespace

void priority_start() {
  statistics = may_come_back() && !descriptors_are_scarce()
                   ? raw_syscall(SYS_openat, AT_FDCWD, "/proc/self/schedstat", O_RDONLY | O_CLOEXEC, 0)
                   : -1;
  if (statistics >= 0) told = turns_so_far();
  next_look_ns = 0;
  gives_way = false;
}

void priority_begin() {
  state.store(kOrdinary, std::memory_order_relaxed);
  raw_syscall(SYS_set_tid_address, &state);
}

int priority_guard(long handler) {
  std::uint32_t seen = 0;
  for (int status = 0;;) {
    const std::uint32_t now = state.load(std::memory_order_acquire);
    const timespec longest = now == kGivesWay ? timespec{0, kRescueNs} : timespec{1, 0};
    if (now != kEnded) raw_syscall(SYS_futex, &state, FUTEX_WAIT, now, &longest, nullptr, 0);
    const bool over = state.load(std::memory_order_acquire) == kEnded;
    const long waited = raw_syscall(SYS_wait4, handler, &status, over ? __WALL : __WALL | WNOHANG, nullptr);
    if (waited != 0 && waited != -EINTR) return status;
    const std::uint32_t signs = signs_of_life.load(std::memory_order_relaxed);
    const sched_param none = {};
    if (now == kGivesWay && signs == seen) raw_syscall(SYS_sched_setscheduler, handler, SCHED_OTHER, &none);
    seen = signs;
  }
}

void priority_tend(std::int64_t now_ns) {
  signs_of_life.fetch_add(1, std::memory_order_relaxed);
  if (statistics < 0 || now_ns < next_look_ns) return;
  const Turns turns = turns_so_far();
  const std::uint64_t count = turns.count - told.count, waited_ns = turns.waited_ns - told.waited_ns;
  const bool starved = gives_way && waited_ns > kLongestWaitNs * (count + 1);
  const bool alone = now_ns - told_ns < kNearNs && count >= kTurnsOfStorm && waited_ns < kShortWaitNs * count;
  told = turns;
  told_ns = now_ns;
  next_look_ns = now_ns + (starved ? kOrdinaryForNs : kLookNs);
  if (gives_way ? starved : alone) give_way(!gives_way);
}

void priority_rest() {
  if (gives_way) give_way(false);
}

bool priority_gives_way() {
  return gives_way;
}

}  // namespace watcher
