// Forces a file to the disk at most about once a second, on a thread of its own, so that writing never waits for it.
//
// Threads: one owner; the thread behind it touches only what the mutex guards.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <mutex>

#include "runtime/base/unique_fd.h"

namespace watcher {

class BackgroundSync {
 public:
  BackgroundSync() = default;
  BackgroundSync(const BackgroundSync&) = delete;
  BackgroundSync& operator=(const BackgroundSync&) = delete;
  ~BackgroundSync();

  /// Starts with, or changes to, this file; the descriptor is duplicated.
  void use(int fd);
  void note_written();
  /// Returns when everything written before is on the disk. False when an fsync failed, now or earlier: then the kernel
  /// may have dropped the data, and trying again would only hide that.
  bool sync_now();

 private:
  static void* run(void* self);
  void loop();
  void start();

  std::mutex mutex_;
  std::condition_variable changed_;
  UniqueFd file_;
  pthread_t thread_{};
  bool running_ = false;
  bool stopping_ = false;
  bool dirty_ = false;
  bool failed_ = false;
};

}  // namespace watcher
