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

/// Helper processes share our memory and may be killed at any time: what they hold can be told and taken from them.
enum class Holder : std::uint32_t { kNobody, kHost, kHelper };

class SpinLock {
 public:
  /// Acquire pairs with the release in unlock(): what the last holder wrote is seen.
  void lock() {
    int spins = 0;
    while (!try_lock()) {
      while (word_.load(std::memory_order_relaxed) != Holder::kNobody) {
        __builtin_ia32_pause();
        if (++spins < kSpinsBeforeYield) continue;
        spins = 0;
        yield_cpu();
      }
    }
  }
  bool try_lock(Holder holder = Holder::kHost) {
    Holder nobody = Holder::kNobody;
    return word_.compare_exchange_strong(nobody, holder, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void unlock() { word_.store(Holder::kNobody, std::memory_order_release); }
  /// Takes the lock from a helper that is gone.
  void take_from_helper() {
    Holder helper = Holder::kHelper;
    word_.compare_exchange_strong(helper, Holder::kNobody, std::memory_order_acq_rel);
  }

 private:
  std::atomic<Holder> word_{Holder::kNobody};
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
