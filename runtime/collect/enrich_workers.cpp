#include "runtime/collect/enrich_workers.h"

#include <sched.h>

#include <algorithm>

namespace watcher {
namespace {

std::size_t processors() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? static_cast<std::size_t>(CPU_COUNT(&allowed)) : 1;
}

}  // namespace

EnrichWorkers::EnrichWorkers(std::size_t wanted)
    : count_(std::clamp<std::size_t>(wanted != 0 ? wanted : processors(), 1, kMost)) {}

EnrichWorkers::~EnrichWorkers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  begun_.notify_all();
  for (WorkerThread& thread : threads_) thread.join();
}

void EnrichWorkers::begin(EventBatch* batch) {
  for (std::size_t i = 0; !started_ && i + 1 < count_; ++i) threads_[i].start(run, this);
  started_ = true;
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(batch);
  }
  begun_.notify_one();
}

void EnrichWorkers::finish(EventBatch* batch) {
  std::unique_lock lock(mutex_);
  const auto is_in = [&](const auto& batches) { return std::ranges::find(batches, batch) != batches.end(); };
  while (is_in(queue_) || is_in(under_way_)) queue_.empty() ? finished_.wait(lock) : render_next(lock);
}

/// Lets go of the lock meanwhile.
void EnrichWorkers::render_next(std::unique_lock<std::mutex>& lock) {
  EventBatch* const batch = queue_.front();
  queue_.pop_front();
  under_way_.push_back(batch);
  lock.unlock();
  batch->render();
  lock.lock();
  std::erase(under_way_, batch);
}

void* EnrichWorkers::run(void* self) {
  static_cast<EnrichWorkers*>(self)->loop();
  return nullptr;
}

void EnrichWorkers::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    begun_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    render_next(lock);
    finished_.notify_one();
  }
}

}  // namespace watcher
