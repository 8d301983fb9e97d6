// Turns time stamps of events into CLOCK_REALTIME. Producers read only the time stamp counter, which all processes
// share; this side pairs the two clocks, again and again, so that drift and steps of the wall clock are followed.
//
// One thread.
#pragma once

#include <cstdint>

namespace watcher {

/// Both clocks, read together.
struct ClockPair {
  std::uint64_t tsc = 0;
  std::uint64_t realtime_ns = 0;

  /// The tightest of several attempts: a preemption between the two readings is told by its width.
  static ClockPair read();
};

class EventClock {
 public:
  EventClock();

  /// Takes a new pair when the last one is old enough; cheap otherwise.
  void refresh();

  /// An event's time. `start` is its ring's own pair, by which a ring of an earlier boot is still dated right.
  std::uint64_t realtime_ns(std::uint64_t tsc, const ClockPair& start) const;

 private:
  std::uint64_t at(const ClockPair& anchor, std::uint64_t tsc) const;

  ClockPair first_;   // the longer the base, the better the rate
  ClockPair anchor_;
  double ns_per_tick_ = 1.0;
};

}  // namespace watcher
