// Turns time stamps of events into CLOCK_REALTIME. Producers read only the time stamp counter, which all processes
// share; this side pairs the two clocks, again and again, so that drift and steps of the wall clock are followed.
//
// One thread.
#pragma once

#include <time.h>

#include <cstdint>

namespace watcher {

/// The counter and a clock of the kernel's, read together.
struct ClockPair {
  std::uint64_t tsc = 0;
  std::uint64_t ns = 0;

  /// The tightest of several attempts: a preemption between the two readings is told by its width.
  static ClockPair read(clockid_t clock);
};

class EventClock {
 public:
  EventClock();

  /// Takes new pairs when the last one is old enough; cheap otherwise.
  void refresh();

  /// An event's time. `start` is its ring's own pair, with CLOCK_REALTIME, by which a ring of an earlier boot is still
  /// dated right.
  std::uint64_t realtime_ns(std::uint64_t tsc, const ClockPair& start) const;

 private:
  std::uint64_t at(const ClockPair& anchor, std::uint64_t tsc) const;

  void take_anchor();

  ClockPair first_;   // with CLOCK_MONOTONIC: the longer the base, the better the rate
  ClockPair anchor_;  // with CLOCK_REALTIME
  double ns_per_tick_ = 1.0;
};

}  // namespace watcher
