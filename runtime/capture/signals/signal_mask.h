// Signal masks in the kernel's own form: one bit a signal.
//
// Any context.
#pragma once

#include <signal.h>
#include <sys/syscall.h>

#include <cstdint>

#include "runtime/base/raw_syscall.h"

namespace watcher {

using SignalMask = std::uint64_t;

constexpr SignalMask signal_bit(int signal_number) {
  return SignalMask{1} << (signal_number - 1);
}

/// Signals that an instruction raises itself: blocking one of them turns its fault into the death of the process.
inline constexpr SignalMask kSynchronousSignals = signal_bit(SIGSEGV) | signal_bit(SIGBUS) | signal_bit(SIGTRAP) |
                                                  signal_bit(SIGILL) | signal_bit(SIGFPE) | signal_bit(SIGSYS);
inline constexpr SignalMask kAsynchronousSignals = ~kSynchronousSignals;

inline SignalMask exchange_signal_mask(SignalMask mask) {
  SignalMask previous = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &previous, sizeof mask);
  return previous;
}

inline void set_signal_mask(SignalMask mask) {
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof mask);
}

/// Holds asynchronous signals off for a scope, the fault engine's own excepted.
class SignalsHeldOff {
 public:
  explicit SignalsHeldOff(SignalMask held = kAsynchronousSignals) {
    raw_syscall(SYS_rt_sigprocmask, SIG_BLOCK, &held, &previous_, sizeof held);
  }
  ~SignalsHeldOff() { set_signal_mask(previous_); }
  SignalsHeldOff(const SignalsHeldOff&) = delete;
  SignalsHeldOff& operator=(const SignalsHeldOff&) = delete;

 private:
  SignalMask previous_ = 0;
};

}  // namespace watcher
