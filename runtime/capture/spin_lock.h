// A lock for signal handlers: held for the time of one store, by threads that block all asynchronous signals meanwhile.
//
// Any thread, any context. The waiter yields, for on one CPU the holder could not go on otherwise.
#pragma once

#include <sys/syscall.h>

#include <atomic>
#include <cstdint>

#include "runtime/base/raw_syscall.h"

namespace watcher {

inline constexpr int kSpinsBeforeYield = 100;

inline void yield_cpu() {
  raw_syscall(SYS_sched_yield);
}

class SpinLock {
 public:
  /// Acquire pairs with the release in unlock(): what the last holder wrote is seen.
  void lock() {
    int spins = 0;
    while (word_.exchange(1, std::memory_order_acquire) != 0) {
      while (word_.load(std::memory_order_relaxed) != 0) {
        __builtin_ia32_pause();
        if (++spins < kSpinsBeforeYield) continue;
        spins = 0;
        yield_cpu();
      }
    }
  }
  bool try_lock() { return word_.exchange(1, std::memory_order_acquire) == 0; }
  void unlock() { word_.store(0, std::memory_order_release); }

 private:
  std::atomic<std::uint32_t> word_{0};
};

class SpinGuard {
 public:
  explicit SpinGuard(SpinLock& lock) : lock_(lock) { lock_.lock(); }
  ~SpinGuard() { lock_.unlock(); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;

 private:
  SpinLock& lock_;
};

}  // namespace watcher
