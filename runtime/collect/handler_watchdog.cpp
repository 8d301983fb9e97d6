#include "runtime/collect/handler_watchdog.h"

#include <linux/kcmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/process_start.h"
#include "runtime/base/raw_syscall.h"
#include "runtime/base/unique_fd.h"

namespace watcher {
namespace {

constexpr std::uint64_t kLookNs = 30'000'000;
constexpr std::uint32_t kLongestWorkMs = 200;             // of processor time
constexpr std::uint64_t kLongestSleepNs = 1'000'000'000;  // in the middle of its work: for a lock of the kernel's

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

/// The ring file names the process, and who writes the file may not choose whom we kill: only what lives in the
/// writer's own memory, which no other process of his does.
void kill_handler(std::uint32_t handler, std::uint32_t writer) {
  const UniqueFd process(static_cast<int>(raw_syscall(SYS_pidfd_open, handler, 0)));
  if (!process || handler == writer) return;
  if (raw_syscall(SYS_kcmp, handler, writer, KCMP_VM, 0, 0) != 0) return;
  raw_syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
}

}  // namespace

void HandlerWatchdog::look(const RingHeader& header, std::uint32_t writer) {
  const std::uint32_t handler = header.handler_pid.load(std::memory_order_relaxed);
  if (handler == 0) return;
  const std::uint64_t now = now_ns();
  if (now < next_look_ns_) return;
  next_look_ns_ = now + kLookNs;
  const ProcessActivity activity = process_activity(handler);
  if (activity.state == 0) return;
  if (is_stopped(activity.state)) return kill_handler(handler, writer);
  const std::uint64_t since = header.handler_busy_since.load(std::memory_order_relaxed);
  if (since == 0 || since != working_since_ns_) first_ticks_ = activity.cpu_ticks;
  // By our own clock: we may have been stopped together with it.
  if (since == 0 || since != working_since_ns_ || activity.state == 'R') first_seen_ns_ = now;
  working_since_ns_ = since;
  static const auto kTicksPerSecond = static_cast<std::uint32_t>(sysconf(_SC_CLK_TCK));
  const bool endless = (activity.cpu_ticks - first_ticks_) * 1000 > kLongestWorkMs * kTicksPerSecond;
  if (endless || now - first_seen_ns_ > kLongestSleepNs) kill_handler(handler, writer);
}

}  // namespace watcher
