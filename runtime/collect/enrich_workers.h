// Threads that render batches while the collector's own takes events out of rings and writes lines. Without one, or
// when none is to be had, the collector's does it all.
//
// One owner calls everything; what the threads share with it is guarded by the mutex.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

#include "runtime/collect/event_batch.h"
#include "runtime/output/worker_thread.h"

namespace watcher {

class EnrichWorkers {
 public:
  static constexpr std::size_t kMost = 3;

  /// How many render, the collector's thread included; 0: one a processor.
  explicit EnrichWorkers(std::size_t wanted);
  EnrichWorkers(const EnrichWorkers&) = delete;
  EnrichWorkers& operator=(const EnrichWorkers&) = delete;
  ~EnrichWorkers();

  std::size_t count() const { return count_; }
  /// The batch is a worker's until finish() has returned. The first one starts the threads.
  void begin(EventBatch* batch);
  /// Returns when the batch is rendered. Until then this thread does its share.
  void finish(EventBatch* batch);

 private:
  static void* run(void* self);
  void loop();
  void render_next(std::unique_lock<std::mutex>& lock);

  std::size_t count_;
  std::array<WorkerThread, kMost - 1> threads_;
  bool started_ = false;

  std::mutex mutex_;
  std::condition_variable begun_;
  std::condition_variable finished_;
  std::deque<EventBatch*> queue_;
  std::vector<EventBatch*> under_way_;
  bool stopping_ = false;
};

}  // namespace watcher
