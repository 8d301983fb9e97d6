// What no engine can get under, measured in nanoseconds of processor time.
#pragma once

#include "tests/bench/engine_clock.h"

namespace watcher::test {

/// 0: not to be had here.
struct Floors {
  double store, system_call, protect_pair, fault, fault_of_threads, round_trip, round_trip_of_threads, step, breakpoint;
};

/// All of them, printed.
Floors measure_floors();

/// A fault, the delivery of its signal and the return, on so many threads at once.
double fault_floor(int threads, int count = kStores);
/// A word to another thread and back, on one CPU: what any engine with a handler pays. Of several threads, to one
/// handler and wherever the scheduler puts them.
double round_trip_floor(int threads, int count = kStores);
double breakpoint_floor();

}  // namespace watcher::test
