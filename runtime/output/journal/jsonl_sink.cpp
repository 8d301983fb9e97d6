#include "runtime/output/journal/jsonl_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/output/journal/own_file.h"

namespace watcher {
namespace {

constexpr int kLockAttempts = 50;
constexpr int kWriteAttempts = 5;
constexpr int kLookAttempts = 20;  // at a name that means another file each time
constexpr unsigned kFirstPauseUs = 1000;

std::size_t whole_lines(std::string_view text) {
  const std::size_t newline = text.rfind('\n');
  return newline == std::string_view::npos ? 0 : newline + 1;
}

std::string_view first_line(std::string_view text) {
  return text.substr(0, std::min(text.find('\n'), text.size() - 1) + 1);
}

std::uint64_t size_of(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

/// Offset behind the last newline of a file.
std::uint64_t end_of_last_line(int fd, std::uint64_t size) {
  char block[64 * 1024];
  while (size > 0) {
    const std::uint64_t start = size > sizeof block ? size - sizeof block : 0;
    const ssize_t got = ::pread(fd, block, size - start, static_cast<off_t>(start));
    if (got <= 0) return size;
    const std::size_t whole = whole_lines({block, static_cast<std::size_t>(got)});
    if (whole > 0) return start + whole;
    size = start;
  }
  return 0;
}

}  // namespace

/// Holds the file's lock, or goes on without when its holder does not move: O_APPEND alone keeps whole writes apart.
/// A file that is not under its name any more is not waited for.
class JsonlSink::AppendLock {
 public:
  AppendLock(int directory_fd, int fd) : fd_(fd) {
    for (int attempt = 0; attempt < kLockAttempts && !held_; ++attempt) {
      if (attempt > 0) ::usleep(kFirstPauseUs);
      held_ = ::flock(fd_, LOCK_EX | LOCK_NB) == 0;
      if (held_ || errno != EWOULDBLOCK || !is_named(directory_fd, kEventsFile, fd_)) return;
    }
  }
  AppendLock(const AppendLock&) = delete;
  AppendLock& operator=(const AppendLock&) = delete;
  ~AppendLock() {
    if (held_) ::flock(fd_, LOCK_UN);
  }
  bool held() const { return held_; }

 private:
  int fd_;
  bool held_ = false;
};

JsonlSink::JsonlSink(int directory_fd, FsyncPolicy policy, const RotationRules& rules)
    : directory_fd_(directory_fd), policy_(policy), rotate_size_(rules.size), rotated_(directory_fd, rules) {}

Result<std::unique_ptr<JsonlSink>> JsonlSink::open(int directory_fd, FsyncPolicy policy, const RotationRules& rules) {
  std::unique_ptr<JsonlSink> sink(new JsonlSink(directory_fd, policy, rules));
  if (Result<void> opened = sink->open_file(); !opened) return opened.error();
  return sink;
}

Result<void> JsonlSink::open_file() {
  Result<UniqueFd> file = open_own_file(directory_fd_, kEventsFile, O_RDWR | O_APPEND | O_CREAT);
  if (!file) return file.error();
  file_ = std::move(file.value());
  known_size_ = 0;
  if (policy_ == FsyncPolicy::kBatch) background_.use(file_.get());
  return {};
}

// A file that was only renamed is still better than none.
bool JsonlSink::reopen_if_moved() {
  if (is_named(directory_fd_, kEventsFile, file_.get()) || open_file()) return true;
  struct stat status {};
  return ::fstat(file_.get(), &status) == 0 && status.st_nlink > 0;
}

bool JsonlSink::is_due(std::size_t more_bytes) const {
  const std::uint64_t size = size_of(file_.get());
  return rotate_size_ != 0 && size != 0 && size + more_bytes > rotate_size_;
}

bool JsonlSink::put_file_aside() {
  if (!put_aside(directory_fd_)) return false;
  rotated_.look_soon();
  return true;
}

/// The lock on the file that has the name, ends in a whole line, and has room for another one. False: there is no file
/// to write to.
bool JsonlSink::lock_named_file(std::unique_ptr<AppendLock>* lock, std::size_t wanted_bytes) {
  for (int attempt = 0; attempt < kLookAttempts; ++attempt) {
    lock->reset();
    if (!reopen_if_moved()) return false;
    *lock = std::make_unique<AppendLock>(directory_fd_, file_.get());
    if (!is_named(directory_fd_, kEventsFile, file_.get())) continue;
    if (!(*lock)->held()) return true;
    repair_tail();
    if (!is_due(wanted_bytes) || !put_file_aside()) return true;
  }
  return true;
}

/// The whole lines that still fit into the file; at least one, whatever its length.
std::string_view JsonlSink::lines_within(std::string_view lines, std::uint64_t size) const {
  if (rotate_size_ == 0 || size + lines.size() <= rotate_size_) return lines;
  const std::uint64_t room = rotate_size_ > size ? rotate_size_ - size : 0;
  return lines.substr(0, std::max(whole_lines(lines.substr(0, room)), first_line(lines).size()));
}

void JsonlSink::rotate() {
  std::unique_ptr<AppendLock> lock;
  if (!lock_named_file(&lock, 0) || !lock->held()) return;
  if (size_of(file_.get()) != 0) put_file_aside();
}

void JsonlSink::repair_tail() {
  const std::uint64_t size = size_of(file_.get());
  if (size == known_size_ || size == 0) return;
  const std::uint64_t end = end_of_last_line(file_.get(), size);
  if (end < size && ::ftruncate(file_.get(), static_cast<off_t>(end)) != 0) return;
}

std::size_t JsonlSink::write_out(std::string_view lines, int* error) {
  std::size_t done = 0;
  while (done < lines.size()) {
    const ssize_t written = ::write(file_.get(), lines.data() + done, lines.size() - done);
    if (written > 0) {
      done += static_cast<std::size_t>(written);
    } else if (written == 0 || errno != EINTR) {
      *error = written == 0 ? EIO : errno;
      break;
    }
  }
  return done;
}

std::size_t JsonlSink::append_once(std::string_view lines, int* error) {
  std::unique_ptr<AppendLock> lock;
  if (!lock_named_file(&lock, first_line(lines).size())) {
    *error = ENOENT;
    return 0;
  }
  const std::uint64_t start = size_of(file_.get());
  lines = lines_within(lines, start);
  const std::uint64_t room = room_below_limit(start);
  if (room < lines.size()) {
    lines = lines.substr(0, whole_lines(lines.substr(0, room)));
    *error = EFBIG;
  }
  const std::size_t written = write_out(lines, error);
  const std::size_t whole = whole_lines(lines.substr(0, written));
  known_size_ = start + whole;
  // Only under the lock is what lies behind `whole` surely ours.
  if (whole < written && lock->held() && ::ftruncate(file_.get(), static_cast<off_t>(known_size_)) != 0)
    known_size_ = 0;  // the next append looks at the tail again
  return whole;
}

void JsonlSink::after_write() {
  if (policy_ == FsyncPolicy::kBatch) background_.note_written();
  if (policy_ == FsyncPolicy::kEvery && sync_error_ == 0 && ::fdatasync(file_.get()) != 0) sync_error_ = errno;
}

std::uint64_t JsonlSink::append(std::string_view lines) {
  unsigned pause_us = kFirstPauseUs;
  for (int failures = 0; failures < kWriteAttempts && !lines.empty();) {
    int error = 0;
    const std::size_t written = append_once(lines, &error);
    lines.remove_prefix(written);
    if (written > 0) after_write();
    if (lines.empty() || (written > 0 && error == 0)) continue;
    if (written == 0 && failing_) break;
    if (++failures == kWriteAttempts) break;
    ::usleep(pause_us);
    pause_us *= 2;
  }
  failing_ = !lines.empty();
  return static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
}

Result<void> JsonlSink::flush() {
  if (policy_ == FsyncPolicy::kBatch && !background_.sync_now()) return Error{EIO, "events.jsonl: fsync failed"};
  if (sync_error_ != 0) return Error{sync_error_, std::string("events.jsonl: fsync: ") + strerror(sync_error_)};
  return {};
}

}  // namespace watcher
