// Signal sets as the kernel has them, and the masks that a call sets for its own duration.
//
// Any thread, any context.
#pragma once

#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "preload/attached_runtime.h"
#include "preload/redirection.h"

namespace watcher {

// The kernel's set has 64 signals. Callers exist that pass no more than these 8 bytes where libc declares 128.
using SignalWord = uint64_t;

inline SignalWord word_of(const sigset_t* set) {
  SignalWord word;
  memcpy(&word, set, sizeof word);
  return word;
}

inline sigset_t set_of(SignalWord word) {
  sigset_t set = {};
  memcpy(&set, &word, sizeof word);
  return set;
}

/// What the filter takes out of `asked`.
SignalWord taken_out(decltype(hooks.filter_mask) filter, SignalWord asked);

/// The mask of ppoll, sigsuspend and their like. It holds for the handlers that interrupt them, and these may write to
/// what is watched; no call tells the host which mask that was.
class PassingMask {
 public:
  explicit PassingMask(const sigset_t* asked) : passed_(asked) {
    auto* filter = attached(hooks.filter_mask);
    if (filter == nullptr || asked == nullptr || !readable(asked, sizeof(SignalWord))) return;
    filtered_ = set_of(word_of(asked) & ~taken_out(filter, word_of(asked)));
    passed_ = &filtered_;
  }
  PassingMask(const PassingMask&) = delete;
  PassingMask& operator=(const PassingMask&) = delete;

  const sigset_t* get() const { return passed_; }

 private:
  sigset_t filtered_;
  const sigset_t* passed_;
};

}  // namespace watcher
