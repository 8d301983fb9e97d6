// Forces a file to the disk at most about once a second, on a thread of its own, so that writing never waits for it.
//
// Threads: one owner; the thread behind it touches only what the mutex guards.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "runtime/base/unique_fd.h"
#include "runtime/output/worker_thread.h"

namespace watcher {

class BackgroundSync {
 public:
  BackgroundSync() = default;
  BackgroundSync(const BackgroundSync&) = delete;
  BackgroundSync& operator=(const BackgroundSync&) = delete;
  ~BackgroundSync();

  /// Starts with, or changes to, this file; the descriptor is duplicated. What was written to the one before is still
  /// forced to the disk.
  void use(int fd);
  void note_written();
  /// Returns when everything written before is on the disk. False when an fsync failed, now or earlier: then the kernel
  /// may have dropped the data, and trying again would only hide that.
  bool sync_now();

 private:
  static void* run(void* self);
  void loop();
  bool sync(std::vector<UniqueFd> files) const;
  std::vector<UniqueFd> dirty_files();

  std::mutex mutex_;
  std::condition_variable changed_;
  UniqueFd file_;
  std::vector<UniqueFd> former_;  // written to and left, since the last sync
  WorkerThread thread_;
  bool stopping_ = false;
  bool dirty_ = false;
  bool failed_ = false;
};

}  // namespace watcher
