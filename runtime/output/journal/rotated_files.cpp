#include "runtime/output/journal/rotated_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>

#include "runtime/base/unique_fd.h"
#include "runtime/output/journal/own_file.h"

namespace watcher {
namespace {

/// A collector that found the lock held goes on without it after 50 ms: by then it must have seen the new name.
constexpr std::uint64_t kQuietMs = 100;
constexpr std::chrono::milliseconds kPause{20};
constexpr int kLooksAtTheEnd = 50;
constexpr int kNiceness = 10;

std::uint64_t size_of(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

}  // namespace

void RotatedFiles::look_soon() {
  if (rules_.keep == 0 && rules_.compression == Compression::kNone) return;
  {
    const std::lock_guard lock(mutex_);
    wanted_ = true;
  }
  changed_.notify_all();
  if (!thread_.running()) thread_.start(run, this);
}

void* RotatedFiles::run(void* self) {
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), kNiceness);
  static_cast<RotatedFiles*>(self)->loop();
  return nullptr;
}

void RotatedFiles::loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!wanted_) {
      changed_.wait(lock);
      continue;
    }
    wanted_ = false;
    lock.unlock();
    const bool again = look();
    lock.lock();
    if (!again) continue;
    wanted_ = true;
    changed_.wait_for(lock, kPause, [this] { return stopping_; });
  }
}

void RotatedFiles::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void RotatedFiles::finish() {
  const bool used = thread_.running();
  stop();
  for (int looks = 0; used && looks < kLooksAtTheEnd && look(); ++looks) ::usleep(kPause.count() * 1000);
}

bool RotatedFiles::look() {
  const std::uint64_t first_in_use = first_in_use_ ? first_in_use_() : ~std::uint64_t{0};
  bool again = false;
  remove_surplus(first_in_use);
  if (rules_.compression == Compression::kNone) return false;
  for (const RotatedFile& file : rotated_files(directory_fd_))
    if (!file.compressed && file.number < first_in_use) again |= compress(file) == Outcome::kLater;
  return again;
}

RotatedFiles::Outcome RotatedFiles::compress(const RotatedFile& file) {
  const Result<UniqueFd> original = open_own_file(directory_fd_, file.name.c_str(), O_RDWR);
  if (!original) return Outcome::kFailed;
  const int fd = original.value().get();
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) return Outcome::kLater;
  struct stat status {};
  // Compressed by another collector between our open and our lock?
  if (::fstat(fd, &status) != 0 || status.st_nlink == 0) return Outcome::kDone;
  return milliseconds_unchanged(status) < kQuietMs ? Outcome::kLater : replace(file.name, fd);
}

// Under the lock of the original. One that was killed between the two last steps leaves both files; the next look
// makes the compressed one anew.
RotatedFiles::Outcome RotatedFiles::replace(const std::string& name, int file_fd) {
  const std::string packed_name = name + suffix_of(rules_.compression);
  const std::string unfinished = "." + packed_name + ".new";
  ::unlinkat(directory_fd_, unfinished.c_str(), 0);
  const Result<UniqueFd> packed = open_own_file(directory_fd_, unfinished.c_str(), O_WRONLY | O_CREAT | O_EXCL);
  if (!packed) return Outcome::kFailed;
  const std::uint64_t size = size_of(file_fd);
  const Result<void> done = compress_file(rules_.compression, file_fd, packed.value().get());
  const bool whole = done && (!rules_.sync || ::fdatasync(packed.value().get()) == 0);
  const bool grew = size_of(file_fd) != size;
  if (!whole || grew || ::renameat(directory_fd_, unfinished.c_str(), directory_fd_, packed_name.c_str()) != 0) {
    ::unlinkat(directory_fd_, unfinished.c_str(), 0);
    return whole && grew ? Outcome::kLater : Outcome::kFailed;
  }
  ::unlinkat(directory_fd_, name.c_str(), 0);
  return Outcome::kDone;
}

void RotatedFiles::remove_surplus(std::uint64_t first_in_use) {
  if (rules_.keep == 0) return;
  const std::vector<RotatedFile> files = rotated_files(directory_fd_);
  for (std::size_t i = 0; i + rules_.keep < files.size(); ++i)
    if (files[i].number < first_in_use) ::unlinkat(directory_fd_, files[i].name.c_str(), 0);
}

}  // namespace watcher
