// Processor time of the process and of its engine's handler, and elapsed time beside it.
#pragma once

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <thread>

#include "runtime/capture/memory_watch.h"

namespace watcher::test {

constexpr int kStores = 20'000;
constexpr int kTurn = 2'000;  // stores, of which a floor is measured beside
constexpr int kThreads = 4;

inline double nanoseconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

inline clockid_t handler_clock = CLOCK_PROCESS_CPUTIME_ID;  // that one: the engine has no handler process

inline double nanoseconds() {
  const double own = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
  return handler_clock == CLOCK_PROCESS_CPUTIME_ID ? own : own + nanoseconds(handler_clock);
}

/// Of the last measurement.
struct Spent {
  double processor, elapsed;
};
inline Spent last;

/// Of one of `count` repetitions of `work(i)`, the median of five rounds.
template <class Work>
double cost(int count, Work work) {
  std::array<double, 5> processor{}, elapsed{};
  for (std::size_t round = 0; round < processor.size(); ++round) {
    const double start = nanoseconds(), clock = nanoseconds(CLOCK_MONOTONIC);
    for (int i = 0; i < count; ++i) work(i);
    processor[round] = (nanoseconds() - start) / count;
    elapsed[round] = (nanoseconds(CLOCK_MONOTONIC) - clock) / count;
  }
  std::sort(processor.begin(), processor.end());
  std::sort(elapsed.begin(), elapsed.end());
  last = {processor[2], elapsed[2]};
  return processor[2];
}

inline void* map_pages(std::size_t pages, int protection = PROT_READ | PROT_WRITE) {
  return mmap(nullptr, pages * kPageBytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/// Calls `work(t)` on that many threads.
template <class Work>
void on_threads(int count, Work work) {
  std::thread all[kThreads];
  for (int t = 0; t < count; ++t) all[t] = std::thread([work, t] { work(t); });
  for (int t = 0; t < count; ++t) all[t].join();
}

}  // namespace watcher::test
