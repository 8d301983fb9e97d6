#include "runtime/enrich/clock.h"

#include <time.h>

namespace watcher {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kCalibrationNs = 1'000'000;
constexpr std::uint64_t kAnchorAgeNs = 100'000'000;
constexpr int kAttempts = 5;

std::uint64_t clock_ns(clockid_t which) {
  timespec now{};
  clock_gettime(which, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kSecondNs + static_cast<std::uint64_t>(now.tv_nsec);
}

/// Rate of the counter over a stretch of CLOCK_MONOTONIC, which nobody sets.
struct RateSample {
  std::uint64_t tsc = __builtin_ia32_rdtsc();
  std::uint64_t monotonic_ns = clock_ns(CLOCK_MONOTONIC);
};

double calibrate() {
  const RateSample from;
  RateSample to;
  while (to.monotonic_ns - from.monotonic_ns < kCalibrationNs) to = RateSample();
  return static_cast<double>(to.monotonic_ns - from.monotonic_ns) / static_cast<double>(to.tsc - from.tsc);
}

}  // namespace

ClockPair ClockPair::read() {
  ClockPair best;
  std::uint64_t best_width = ~std::uint64_t{0};
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::uint64_t before = __builtin_ia32_rdtsc();
    const std::uint64_t now = clock_ns(CLOCK_REALTIME);
    const std::uint64_t width = __builtin_ia32_rdtsc() - before;
    if (width >= best_width) continue;
    best_width = width;
    best = {before + width / 2, now};
  }
  return best;
}

EventClock::EventClock() : ns_per_tick_(calibrate()) { first_ = anchor_ = ClockPair::read(); }

void EventClock::refresh() {
  const std::uint64_t age = __builtin_ia32_rdtsc() - anchor_.tsc;
  if (static_cast<double>(age) * ns_per_tick_ < static_cast<double>(kAnchorAgeNs)) return;
  anchor_ = ClockPair::read();
  const auto ticks = static_cast<double>(anchor_.tsc - first_.tsc);
  const double rate = static_cast<double>(anchor_.realtime_ns - first_.realtime_ns) / ticks;
  // The wall clock was set, not just slewed: measure from here on.
  if (rate < ns_per_tick_ * 0.999 || rate > ns_per_tick_ * 1.001)
    first_ = anchor_;
  else
    ns_per_tick_ = rate;
}

std::uint64_t EventClock::at(const ClockPair& anchor, std::uint64_t tsc) const {
  const auto ticks = static_cast<double>(static_cast<std::int64_t>(tsc - anchor.tsc));
  return anchor.realtime_ns + static_cast<std::uint64_t>(static_cast<std::int64_t>(ticks * ns_per_tick_));
}

std::uint64_t EventClock::realtime_ns(std::uint64_t tsc, const ClockPair& start) const {
  const std::uint64_t start_here = at(anchor_, start.tsc);
  const std::uint64_t apart =
      start_here > start.realtime_ns ? start_here - start.realtime_ns : start.realtime_ns - start_here;
  // An hour apart is another boot's counter, or a wall clock that was set: the ring's own pair knows better.
  return at(apart < 3600 * kSecondNs ? anchor_ : start, tsc);
}

}  // namespace watcher
