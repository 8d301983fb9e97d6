// Where events go besides events.jsonl. That file is the journal: a sink is fed from it, on a thread of its own, from
// where the last one stopped. So no sink holds up the rings, each gets what the processors left of an event, and what
// it could not deliver while it ran is in the file for the next run.
//
// One thread, the follower's; the counts may be read by others.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace watcher {

class Sink {
 public:
  Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  virtual ~Sink() = default;

  /// Of its position file and its counts.
  virtual const char* name() const = 0;
  /// Takes over from an earlier process, which left `state` behind with the position it had reached. False: not now.
  virtual bool resume(std::uint64_t state) = 0;
  /// Delivers some of these whole lines, the first ones. Returns how many bytes of them never have to be offered again;
  /// 0: none now, try later.
  virtual std::size_t take(std::string_view lines) = 0;
  /// What resume() needs to know; kept together with the position behind the lines taken.
  virtual std::uint64_t state() const { return 0; }
  /// There will be no more lines from here.
  virtual void finish() {}
  /// How long the end of a run may wait for deliveries, in milliseconds; after a failed one it waits no more.
  virtual std::uint64_t patience_ms() const = 0;

  std::uint64_t delivered() const { return delivered_.load(std::memory_order_relaxed); }
  std::uint64_t rejected() const { return rejected_.load(std::memory_order_relaxed); }
  /// Of the last attempt; empty when it went well.
  std::string fault() const {
    const std::lock_guard lock(mutex_);
    return fault_;
  }

 protected:
  void count(std::uint64_t delivered, std::uint64_t rejected) {
    delivered_.fetch_add(delivered, std::memory_order_relaxed);
    rejected_.fetch_add(rejected, std::memory_order_relaxed);
  }
  void set_fault(std::string sentence) {
    const std::lock_guard lock(mutex_);
    fault_ = std::move(sentence);
  }

 private:
  std::atomic<std::uint64_t> delivered_{0};
  std::atomic<std::uint64_t> rejected_{0};  // events that the other end will never take
  mutable std::mutex mutex_;
  std::string fault_;
};

}  // namespace watcher
