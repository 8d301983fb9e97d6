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

constinit long statistics = -1;  // /proc/self/schedstat: time run, time waited, turns
struct Turns {
  std::uint64_t waited_ns = 0;
  std::uint64_t count = 0;
};
constinit Turns told;
constinit std::int64_t next_look_ns = 0;
constinit bool gives_way = false;

void set_policy(int policy) {
  const sched_param none = {};
  raw_syscall(SYS_sched_setscheduler, 0, policy, &none);
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
  const bool starved = turns.waited_ns - told.waited_ns > kLongestWaitNs * (turns.count - told.count + 1);
  told = turns;
  next_look_ns = now_ns + (starved ? kOrdinaryForNs : kLookNs);
  if (gives_way == !starved) return;
  gives_way = !starved;
  set_policy(gives_way ? SCHED_IDLE : SCHED_OTHER);
}

bool priority_gives_way() {
  return gives_way;
}

}  // namespace watcher
