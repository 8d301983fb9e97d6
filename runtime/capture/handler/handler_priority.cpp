#include "runtime/capture/handler/handler_priority.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"

namespace watcher {
namespace {

constexpr std::int64_t kLookNs = 1'000'000;
constexpr std::uint64_t kLongestWaitNs = 300'000;       // for a processor, a turn, between two looks
constexpr std::int64_t kOrdinaryForNs = 1'000'000'000;  // after a longer one
constexpr std::uint64_t kTurnsOfStorm = 8;              // between two looks that are
constexpr std::int64_t kNearNs = 3 * kLookNs;           // each other
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

void give_way(bool on) {
  const sched_param none = {};
  raw_syscall(SYS_sched_setscheduler, 0, on ? SCHED_IDLE : SCHED_OTHER, &none);
  gives_way = on;
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
  statistics =
      may_come_back() ? raw_syscall(SYS_openat, AT_FDCWD, "/proc/self/schedstat", O_RDONLY | O_CLOEXEC, 0) : -1;
  if (statistics >= 0) told = turns_so_far();
  next_look_ns = 0;
  gives_way = false;
}

void priority_tend(std::int64_t now_ns) {
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
