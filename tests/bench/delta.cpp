// How fast two images are compared into runs of changed bytes, beside memcmp over the same bytes (as equal ones, so that
// it goes to the end).
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <vector>

#include "runtime/enrich/delta.h"

namespace watcher {
namespace {

constexpr std::size_t kTotalBytes = 2ull << 30;  // compared a measurement

double now_s() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double gigabytes_per_s(double start, std::size_t bytes) {
  return static_cast<double>(bytes) / (now_s() - start) * 1e-9;
}

/// Every `step`th byte differs, `length` in a row.
void measure(std::size_t bytes, std::size_t step, std::size_t length, const char* what) {
  std::vector<char> before(bytes, 'x');
  std::vector<char> after = before;
  for (std::size_t at = 0; step != 0 && at < bytes; at += step)
    for (std::size_t i = at; i < at + length && i < bytes; ++i) after[i] = 'y';
  const std::vector<char> same = before;
  const std::size_t total = step != 0 && step < 64 && length < step ? kTotalBytes / 16 : kTotalBytes;
  std::vector<DeltaRun> runs;
  std::uint64_t changed = 0;
  double start = now_s();
  for (std::size_t done = 0; done < total; done += bytes) {
    runs.clear();
    changed += find_runs(before.data(), after.data(), bytes, &runs);
  }
  const double ours = gigabytes_per_s(start, total);
  int order = 0;
  start = now_s();
  for (std::size_t done = 0; done < kTotalBytes; done += bytes) {
    __asm__ volatile("" : : "r"(before.data()), "r"(same.data()) : "memory");
    order += memcmp(before.data(), same.data(), bytes);
  }
  const double floor = gigabytes_per_s(start, kTotalBytes);
  printf("  %7zu bytes, %-24s %6.1f GB/s (%zu runs); memcmp %6.1f GB/s, %.2f times as fast%s\n", bytes, what, ours,
         runs.size(), floor, floor / ours, order + static_cast<int>(changed & 0) != 0 ? "!" : "");
}

}  // namespace
}  // namespace watcher

int main() {
  printf("deltas\n");
  for (const std::size_t bytes : {std::size_t{64}, std::size_t{4096}, std::size_t{65536}, std::size_t{16u << 20}}) {
    watcher::measure(bytes, 0, 0, "equal");
    watcher::measure(bytes, 4096, 8, "8 of 4096 differ");
    watcher::measure(bytes, 64, 8, "8 of 64 differ");
    watcher::measure(bytes, 2, 1, "every second differs");
    watcher::measure(bytes, 1, 1, "all differ");
  }
  return 0;
}
