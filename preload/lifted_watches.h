// The watches on memory that a call is about to take away or to move, while it does.
//
// Any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "preload/attached_runtime.h"

namespace watcher {

class LiftedWatches {
 public:
  LiftedWatches(decltype(hooks.lift_watches) lift, void* start, size_t bytes) {
    ErrnoKeeper keeper;
    token_ = bytes == 0 ? 0 : lift(start, bytes);
  }
  LiftedWatches(const LiftedWatches&) = delete;
  LiftedWatches& operator=(const LiftedWatches&) = delete;

  /// The memory is there, or somewhere else; whoever calls neither of the two loses the watches.
  void settle(void* start, size_t bytes) const {
    if (token_ == 0) return;
    ErrnoKeeper keeper;
    if (auto* hook = attached(hooks.settle_watches)) hook(token_, start, bytes);
  }
  /// The memory is gone.
  void end() const { settle(nullptr, 0); }

 private:
  uint64_t token_;
};

}  // namespace watcher
