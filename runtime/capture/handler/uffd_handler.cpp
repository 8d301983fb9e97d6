#include "runtime/capture/handler/uffd_handler.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/engines/engine_choice.h"
#include "runtime/capture/handler/fault_witness.h"
#include "runtime/capture/handler/handler_priority.h"
#include "runtime/capture/handler/handler_request.h"
#include "runtime/capture/handler/helper_process.h"
#include "runtime/capture/handler/kernel_window.h"
#include "runtime/capture/handler/uffd_faults.h"
#include "runtime/capture/handler/userfault.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/alias_pages.h"
#include "runtime/capture/regions/region_map.h"
#include "runtime/capture/threads/thread_files.h"

namespace watcher {
namespace {

constexpr std::uint32_t kStarting = ~0u;
constexpr std::int64_t kLookNs = 1'000'000'000;  // between two looks whether the host still runs this program
constexpr int kFaultsAtOnce = 64;
constexpr int kReadsAtOnce = 32;
constexpr int kTurnsElsewhere = 4;
constexpr long kStormEndsUs = 1'000;
constexpr timespec kStartPatience = {2, 0};

constinit std::atomic<std::uint32_t> start_result{kStarting};  // a futex; then 0 or an errno
constinit int signal_for_writers = 0;
constinit int own_cpu = -1;
constinit int turns_elsewhere = 0;  // of writers, without one on our own CPU

[[noreturn]] void leave(int status) {
  for (;;) raw_syscall(SYS_exit_group, status);
}

void report_start(int result) {
  start_result.store(static_cast<std::uint32_t>(result), std::memory_order_release);
  raw_syscall(SYS_futex, &start_result, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

/// A hand-over on one CPU is several times cheaper than across two (engine-facts.md).
void follow_writer() {
  const int cpu = last_writer_cpu();
  if (cpu == own_cpu) turns_elsewhere = 0;
  if (cpu < 0 || cpu == own_cpu || cpu >= CPU_SETSIZE) return;
  if (own_cpu >= 0 && ++turns_elsewhere < kTurnsElsewhere) return;
  own_cpu = cpu;
  cpu_set_t set{};
  CPU_SET(static_cast<unsigned>(cpu), &set);
  raw_syscall(SYS_sched_setaffinity, 0, sizeof set, &set);
}

/// False: there were none.
bool read_faults(std::int64_t now_ns) {
  uffd_msg messages[kFaultsAtOnce];
  const std::uint64_t wakes = userfault_wakes();
  const long got = raw_syscall(SYS_read, userfault_descriptor(), messages, sizeof messages);
  if (got <= 0) return false;
  for (long i = 0; i < got / static_cast<long>(sizeof messages[0]); ++i) {
    const uffd_msg& message = messages[i];
    if (message.event != UFFD_EVENT_PAGEFAULT) continue;
    const std::uintptr_t address = message.arg.pagefault.address;
    if (answer_request(page_of(address)) || userfault_woken_since(wakes, page_of(address))) continue;
    on_fault(message.arg.pagefault.feat.ptid, address, now_ns);
  }
  follow_writer();
  return true;
}

/// Who gives way is back only once the writer waits in its next fault: that is read without asking for it first. Not to
/// the end, which in a storm there is not: the windows want to be tended, and the watchdog a sign of life.
void read_storm(std::int64_t now_ns) {
  for (int reads = 0; read_faults(now_ns) && ++reads < kReadsAtOnce && priority_gives_way();) {
  }
}

timespec patience() {
  const long window_us = 1000l * windows_patience_ms();
  const long fault_us = faults_patience_us();
  long us = window_us < fault_us ? window_us : fault_us;
  if (priority_gives_way() && us > kStormEndsUs) us = kStormEndsUs;
  return {us / 1'000'000, us % 1'000'000 * 1000};
}

[[noreturn]] void serve(int host) {
  RingHeader& header = *memory_state.ring->header();
  std::int64_t next_look_ns = 0;
  for (;;) {
    pollfd wait[] = {{userfault_descriptor(), POLLIN, 0}, {host, POLLIN, 0}};
    const timespec longest = patience();
    header.handler_busy_since.store(0, std::memory_order_relaxed);
    if (raw_syscall(SYS_ppoll, wait, 2, &longest, nullptr, 0) == 0) priority_rest();
    const std::int64_t now_ns = monotonic_ns();
    header.handler_busy_since.store(static_cast<std::uint64_t>(now_ns), std::memory_order_relaxed);
    if ((wait[1].revents & POLLIN) != 0) {
      windows_close_all();  // the memory is still there: it is ours as well
      leave(0);
    }
    if ((wait[0].revents & (POLLERR | POLLNVAL)) != 0) leave(1);
    if (now_ns >= next_look_ns) {
      if (host_has_left()) leave(0);
      next_look_ns = now_ns + kLookNs;
    }
    if ((wait[0].revents & POLLIN) != 0) read_storm(now_ns);
    faults_tend(now_ns);
    windows_tend(now_ns);
    priority_tend(now_ns);
  }
}

/// What is needed to tell the kernel's stores from the host's own: /proc, for the witness cannot do without it either.
bool can_tell_writers() {
  std::uint32_t call = 0;
  if (what_thread_does(observed_process(), &call) == ThreadDoes::kNothing) return false;
  witness_start();
  return true;
}

[[noreturn]] void handler_main() {
  priority_begin();
  settle_in_helper("watcher-uffd");
  const long host = raw_syscall(SYS_pidfd_open, observed_process(), 0);
  int error = host < 0 ? static_cast<int>(-host) : userfault_open();
  if (error == 0 && !can_tell_writers()) error = ENOENT;
  faults_start(signal_for_writers);
  if (error == 0) error = handler_requests_begin();
  if (error == 0) {
    RingHeader& header = *memory_state.ring->header();
    header.handler_pid.store(static_cast<std::uint32_t>(raw_syscall(SYS_getpid)), std::memory_order_relaxed);
  }
  report_start(error);
  if (error != 0) leave(0);
  priority_start();
  serve(static_cast<int>(host));
}

/// Sleeps until the handler has ended. It ends by itself when the host has; otherwise it was killed.
[[noreturn]] void guard_main() {
  settle_in_helper("watcher-guard");
  const long handler = start_child_helper(Helper::kHandler, handler_main);
  if (handler < 0) {
    report_start(static_cast<int>(-handler));
    leave(0);
  }
  const int status = priority_guard(handler);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) leave(0);
  if (host_has_left()) leave(0);
  report_start(ECHILD);  // should the host still be waiting
  fall_back_to_inline();
  leave(0);
}

}  // namespace

int uffd_handler_start(int signal_number) {
  if (!helper_processes_reserve() || !handler_requests_reserve() || !windows_reserve()) return ENOMEM;
  thread_files_of(static_cast<std::uint32_t>(raw_syscall(SYS_getpid)));
  signal_for_writers = signal_number;
  own_cpu = -1;
  start_result.store(kStarting, std::memory_order_relaxed);
  const SignalMask mask = exchange_signal_mask(~SignalMask{0});  // inherited
  const long guard = start_detached_helper(Helper::kGuard, guard_main);
  long waited = guard < 0 ? guard : 0;
  while (waited != -ETIMEDOUT && guard >= 0 && start_result.load(std::memory_order_acquire) == kStarting)
    waited = raw_syscall(SYS_futex, &start_result, FUTEX_WAIT_PRIVATE, kStarting, &kStartPatience, nullptr, 0);
  set_signal_mask(mask);
  if (guard < 0) return static_cast<int>(-guard);
  const std::uint32_t result = start_result.load(std::memory_order_acquire);
  return result == kStarting ? ETIMEDOUT : static_cast<int>(result);
}

void uffd_handler_forget() {
  handler_requests_forget();
  windows_forget_all();
  witness_forget();
}

}  // namespace watcher
