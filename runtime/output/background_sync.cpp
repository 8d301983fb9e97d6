#include "runtime/output/background_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>

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
  if (running_) pthread_join(thread_, nullptr);
}

void BackgroundSync::use(int fd) {
  {
    const std::lock_guard lock(mutex_);
    file_ = duplicate(fd);
  }
  if (!running_) start();
}

// The thread takes no signals: they are for the program that collects. Without a thread, sync_now still works.
void BackgroundSync::start() {
  sigset_t all;
  sigset_t previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  running_ = pthread_create(&thread_, nullptr, run, this) == 0;
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
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

void BackgroundSync::loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!dirty_) {
      changed_.wait(lock);
      continue;
    }
    changed_.wait_for(lock, kPause, [this] { return stopping_; });
    if (stopping_) return;
    dirty_ = false;
    const UniqueFd file = duplicate(file_.get());
    lock.unlock();
    const bool done = sync_file(file.get());
    lock.lock();
    failed_ = failed_ || !done;
  }
}

bool BackgroundSync::sync_now() {
  const std::lock_guard lock(mutex_);
  dirty_ = false;
  if (file_ && !failed_) failed_ = !sync_file(file_.get());
  return !failed_;
}

}  // namespace watcher
