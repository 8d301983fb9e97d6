#include "runtime/output/sinks/journal_follower.h"

#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "runtime/output/journal/own_file.h"

namespace watcher {
namespace {

constexpr std::uint64_t kIdleMs = 50;
constexpr std::uint64_t kFirstBackOffMs = 100;
constexpr std::uint64_t kLongestBackOffMs = 10'000;
constexpr std::uint64_t kMillisecondNs = 1'000'000;
constexpr std::uint64_t kMagic = 0x3130'736f'702d'7277;

/// The position file's content; written by one call, so never seen in part.
struct Record {
  std::uint64_t magic = kMagic;
  JournalPosition position;
  std::uint64_t state = 0;
};

std::uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

std::optional<Record> read_record(int fd) {
  Record record;
  const bool whole = ::pread(fd, &record, sizeof record, 0) == static_cast<ssize_t>(sizeof record);
  return whole && record.magic == kMagic ? std::optional(record) : std::nullopt;
}

bool write_record(int fd, const Record& record) {
  return room_below_limit(0) >= sizeof record && ::pwrite(fd, &record, sizeof record, 0) == sizeof record;
}

}  // namespace

Result<std::unique_ptr<JournalFollower>> JournalFollower::open(int directory_fd, std::unique_ptr<Sink> sink) {
  const std::string name = std::string(sink->name()) + ".position";
  Result<UniqueFd> file = open_own_file(directory_fd, name.c_str(), O_RDWR | O_CREAT);
  if (!file) return file.error();
  std::unique_ptr<JournalFollower> follower(
      new JournalFollower(directory_fd, std::move(sink), std::move(file.value())));
  const int fd = follower->file_.get();
  follower->follows_ = ::flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (follower->follows_) {
    if (!read_record(fd)) write_record(fd, {.position = journal_end(directory_fd)});
    ::flock(fd, LOCK_UN);
    follower->follows_ = false;
  }
  if (!follower->thread_.start(run, follower.get())) return Error{EAGAIN, name + ": no thread to be had"};
  return follower;
}

JournalFollower::~JournalFollower() {
  {
    const std::lock_guard lock(mutex_);
    end_ns_ = 0;
  }
  changed_.notify_all();
  thread_.join();
}

void JournalFollower::finish() {
  {
    const std::lock_guard lock(mutex_);
    end_ns_ = monotonic_ns() + sink_->patience_ms() * kMillisecondNs;
  }
  changed_.notify_all();
  thread_.join();
}

void* JournalFollower::run(void* self) {
  static_cast<JournalFollower*>(self)->loop();
  return nullptr;
}

void JournalFollower::loop() {
  while (pause(follows_ || take_over() ? turn() : Turn::kIdle)) {
  }
  if (follows_) sink_->finish();
  follows_ = false;
  ::flock(file_.get(), LOCK_UN);
}

bool JournalFollower::take_over() {
  if (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) return false;
  const Record record = read_record(file_.get()).value_or(Record{.position = journal_end(directory_fd_)});
  follows_ = sink_->resume(record.state);
  if (!follows_) {
    ::flock(file_.get(), LOCK_UN);
    return false;
  }
  reader_.seek(record.position);
  write_position();
  return true;
}

JournalFollower::Turn JournalFollower::turn() {
  const std::string_view lines = reader_.lines();
  if (lines.empty()) return reader_.is_in_last_file() ? Turn::kIdle : Turn::kSettling;
  const std::size_t taken = sink_->take(lines);
  if (taken == 0) return Turn::kRefused;
  reader_.consume(taken);
  write_position();
  return Turn::kMore;
}

// Where it cannot be written the events behind the old one are delivered once more, with the same ids.
void JournalFollower::write_position() {
  write_record(file_.get(), {.position = reader_.position(), .state = sink_->state()});
}

bool JournalFollower::pause(Turn after) {
  std::unique_lock lock(mutex_);
  if (!end_ns_) {
    const std::uint64_t longer = std::min(std::max(pause_ms_ * 2, kFirstBackOffMs), kLongestBackOffMs);
    pause_ms_ = after == Turn::kRefused ? longer : 0;
    if (after == Turn::kMore) return true;
    changed_.wait_for(lock, std::chrono::milliseconds(std::max(pause_ms_, kIdleMs)), [this] { return bool(end_ns_); });
    if (!end_ns_) return true;
  } else if (after == Turn::kSettling) {
    changed_.wait_for(lock, std::chrono::milliseconds(kIdleMs));
  } else if (after != Turn::kMore && looked_last_) {
    return false;
  }
  looked_last_ = true;  // from here on all that belongs to the run is in the journal
  return monotonic_ns() < *end_ns_;
}

std::uint64_t JournalFollower::first_file_in_use() const {
  const std::optional<Record> record = read_record(file_.get());
  return record ? journal_file_number(directory_fd_, record->position) : 0;
}

}  // namespace watcher
