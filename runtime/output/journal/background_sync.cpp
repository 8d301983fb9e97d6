#include "runtime/output/journal/background_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <utility>

namespace watcher {
namespace {

constexpr std::chrono::seconds kPause{1};

bool sync_file(int fd) {
  // EINVAL and EROFS: the file system has no such thing as a sync.
  return ::fdatasync(fd) == 0 || errno == EINVAL || errno == EROFS;
}

UniqueFd duplicate(int fd) {
  return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

}  // namespace

BackgroundSync::~BackgroundSync() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

// Without a thread, sync_now still works.
void BackgroundSync::use(int fd) {
  {
    const std::lock_guard lock(mutex_);
    if (dirty_ && file_) former_.push_back(std::move(file_));
    file_ = duplicate(fd);
  }
  if (!thread_.running()) thread_.start(run, this);
}

void BackgroundSync::note_written() {
  const std::lock_guard lock(mutex_);
  if (!dirty_) changed_.notify_all();
  dirty_ = true;
}

void* BackgroundSync::run(void* self) {
  static_cast<BackgroundSync*>(self)->loop();
  return nullptr;
}

std::vector<UniqueFd> BackgroundSync::dirty_files() {
  std::vector<UniqueFd> files = std::move(former_);
  former_.clear();
  files.push_back(duplicate(file_.get()));
  dirty_ = false;
  return files;
}

bool BackgroundSync::sync(std::vector<UniqueFd> files) const {
  bool all = true;
  for (const UniqueFd& file : files) all = sync_file(file.get()) && all;
  return all;
}

void BackgroundSync::loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!dirty_) {
      changed_.wait(lock);
      continue;
    }
    changed_.wait_for(lock, kPause, [this] { return stopping_; });
    if (stopping_) return;
    std::vector<UniqueFd> files = dirty_files();
    lock.unlock();
    const bool done = sync(std::move(files));
    lock.lock();
    failed_ = failed_ || !done;
  }
}

bool BackgroundSync::sync_now() {
  const std::lock_guard lock(mutex_);
  if (file_ && !failed_) failed_ = !sync(dirty_files());
  return !failed_;
}

}  // namespace watcher
