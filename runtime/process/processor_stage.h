// One processor of the chain, and what is counted of it.
//
// Its counts may be read by another thread; everything else is for one thread at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>

#include "runtime/process/chain_event.h"

namespace watcher {

/// Counts only go up; the summary takes what came since it looked last.
struct StageCounts {
  std::atomic<std::uint64_t> passed{0};
  std::atomic<std::uint64_t> dropped{0};
  std::atomic<std::uint64_t> failed{0};    // exceptions, wrong answers, deaths and timeouts; those events are dropped
  std::atomic<std::uint64_t> timeouts{0};  // of `failed`
  std::atomic<std::uint64_t> restarts{0};
  std::atomic<std::uint64_t> output_bytes{0};  // that a worker wrote to its standard output and error

  void fail(std::string_view why) {
    failed.fetch_add(1, std::memory_order_relaxed);
    say(why);
  }
  void say(std::string_view why) {
    const std::lock_guard lock(mutex_);
    last_error_ = why;
  }
  std::string last_error() const {
    const std::lock_guard lock(mutex_);
    return last_error_;
  }

 private:
  mutable std::mutex mutex_;
  std::string last_error_;
};

class ProcessorStage {
 public:
  explicit ProcessorStage(std::string name) : name_(std::move(name)) {}
  virtual ~ProcessorStage() = default;

  /// Marks those that are dropped, adds to the others. False: it was stopped, or cannot work now; the same call again
  /// goes on where it was.
  virtual bool process(std::span<ChainEvent> events, const std::atomic<bool>& stop) = 0;
  /// Now and then, when there is nothing to do.
  virtual void idle() {}
  /// On the thread that process() was called on, when it will not be called again.
  virtual void end() {}

  const std::string& name() const { return name_; }
  StageCounts& counts() { return counts_; }

 private:
  std::string name_;
  StageCounts counts_;
};

}  // namespace watcher
