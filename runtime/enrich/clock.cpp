#include "runtime/enrich/clock.h"

#include <time.h>

namespace watcher {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kCalibrationNs = 1'000'000;
constexpr std::uint64_t kAnchorAgeNs = 100'000'000;
constexpr int kAttempts = 16;

std::uint64_t clock_ns(clockid_t which) {
  timespec now{};
  clock_gettime(which, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kSecondNs + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

ClockPair ClockPair::read(clockid_t clock) {
  ClockPair best;
  std::uint64_t best_width = ~std::uint64_t{0};
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::uint64_t before = __builtin_ia32_rdtsc();
    const std::uint64_t now = clock_ns(clock);
    const std::uint64_t width = __builtin_ia32_rdtsc() - before;
    if (width >= best_width) continue;
    best_width = width;
    best = {before + width / 2, now};
  }
  return best;
}

EventClock::EventClock() : first_(ClockPair::read(CLOCK_MONOTONIC)) {
  while (clock_ns(CLOCK_MONOTONIC) - first_.ns < kCalibrationNs) {
  }
  take_anchor();
}

// The rate comes from CLOCK_MONOTONIC, which nobody sets, over all the time since the first pair.
void EventClock::take_anchor() {
  const ClockPair now = ClockPair::read(CLOCK_MONOTONIC);
  if (now.tsc > first_.tsc)
    ns_per_tick_ = static_cast<double>(now.ns - first_.ns) / static_cast<double>(now.tsc - first_.tsc);
  else
    first_ = now;  // the counter began anew: a suspend
  anchor_ = ClockPair::read(CLOCK_REALTIME);
}

void EventClock::refresh() {
  const auto age = static_cast<double>(__builtin_ia32_rdtsc() - anchor_.tsc);
  if (age * ns_per_tick_ >= static_cast<double>(kAnchorAgeNs)) take_anchor();
}

std::uint64_t EventClock::at(const ClockPair& anchor, std::uint64_t tsc) const {
  const auto ticks = static_cast<double>(static_cast<std::int64_t>(tsc - anchor.tsc));
  return anchor.ns + static_cast<std::uint64_t>(static_cast<std::int64_t>(ticks * ns_per_tick_));
}

std::uint64_t EventClock::realtime_ns(std::uint64_t tsc, const ClockPair& start) const {
  const std::uint64_t start_here = at(anchor_, start.tsc);
  const std::uint64_t apart = start_here > start.ns ? start_here - start.ns : start.ns - start_here;
  // An hour apart is another boot's counter, or a wall clock that was set: the ring's own pair knows better.
  return at(apart < 3600 * kSecondNs ? anchor_ : start, tsc);
}

}  // namespace watcher
