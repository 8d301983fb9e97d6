// read_events: the files of an output directory as one stream of lines.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "runtime/base/unique_fd.h"
#include "runtime/output/journal/decompress.h"
#include "runtime/output/journal/rotated_names.h"
#include "tools/recorded-events.h"

namespace watcher {
namespace {

constexpr unsigned kPoll_us = 50'000;
/// A collector that goes on without the lock may write to a file for a moment after it was put aside.
constexpr int kLooksBehind = 4;

/// Feeds lines out of blocks; keeps an unfinished one.
class Lines {
 public:
  explicit Lines(const std::function<bool(const RecordedEvent&)>& see) : see_(see) {}

  /// False when enough was seen.
  bool feed(std::string_view block) {
    for (std::size_t end; (end = block.find('\n')) != block.npos; block.remove_prefix(end + 1)) {
      rest_.append(block.substr(0, end));
      enough_ = enough_ || (event_.parse(rest_) && !see_(event_));
      rest_.clear();
      if (enough_) return false;
    }
    rest_.append(block);
    return true;
  }
  bool enough() const { return enough_; }
  void forget_rest() { rest_.clear(); }

 private:
  const std::function<bool(const RecordedEvent&)>& see_;
  RecordedEvent event_;
  std::string rest_;
  bool enough_ = false;
};

Compression compression_of(std::string_view name) {
  if (name.ends_with(suffix_of(Compression::kGzip))) return Compression::kGzip;
  return name.ends_with(suffix_of(Compression::kZstd)) ? Compression::kZstd : Compression::kNone;
}

/// One pass over a directory in which files are put aside, compressed and removed meanwhile.
class EventFiles {
 public:
  EventFiles(int directory_fd, const std::string& path, bool follow, Lines* lines)
      : directory_fd_(directory_fd), path_(path), follow_(follow), lines_(lines) {}

  Result<void> read_all() {
    for (;;) {
      if (auto read = read_put_aside(); !read || lines_->enough()) return read;
      const UniqueFd current(open_file(kEventsFile));
      if (!current && (errno != ENOENT || (!follow_ && last_ == 0))) return no_current();
      if (!all_put_aside_read()) continue;  // it may be one of them by now
      if (auto read = read_current(current.get()); !read || !follow_ || lines_->enough()) return read;
    }
  }

 private:
  int open_file(const char* name) const { return openat(directory_fd_, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW); }

  Error cannot_read(const std::string& name, const std::string& why) const {
    return Error{EIO, "cannot read " + path_ + "/" + name + ": " + why};
  }

  Error no_current() const {
    if (errno != ENOENT) return cannot_read(kEventsFile, strerror(errno));
    return Error{
        ENOENT, "there is no " + std::string(kEventsFile) + " in " + path_ + "; is it an output directory of Watcher?"};
  }

  Result<void> read_file(const std::string& name, int fd) {
    const auto read =
        decompress_file(compression_of(name), fd, [&](std::string_view text) { return lines_->feed(text); });
    return read ? read : cannot_read(name, read.error().message);
  }

  bool all_put_aside_read() const {
    const std::vector<RotatedFile> files = rotated_files(directory_fd_);
    return files.empty() || files.back().number <= last_;
  }

  /// Each number once: one that was compressed a moment ago is there under both names.
  Result<void> read_put_aside() {
    while (!all_put_aside_read()) {
      for (const RotatedFile& file : rotated_files(directory_fd_)) {
        if (file.number <= last_) continue;
        const UniqueFd opened(open_file(file.name.c_str()));
        if (!opened && errno == ENOENT && missing_ != file.name) {
          missing_ = file.name;  // compressed meanwhile, so it has another name, or removed
          break;
        }
        if (!opened) return cannot_read(file.name, strerror(errno));
        await_late_writers(opened.get());
        if (auto read = read_file(file.name, opened.get()); !read || lines_->enough()) return read;
        last_ = file.number;
        lines_->forget_rest();
      }
    }
    return {};
  }

  static void await_late_writers(int fd) {
    struct stat status {};
    for (int looks = 0; looks < kLooksBehind; ++looks) {
      if (fstat(fd, &status) != 0 || status.st_nlink == 0) return;
      if (milliseconds_unchanged(status) * 1000 >= kPoll_us * (kLooksBehind - 1)) return;
      usleep(kPoll_us);
    }
  }

  /// From its beginning; with `follow_` until it is put aside, and then what is still in it.
  Result<void> read_current(int fd) {
    if (fd < 0) {
      if (follow_) usleep(kPoll_us);
      return {};
    }
    for (int looks_behind = 0; looks_behind < kLooksBehind;) {
      const bool was_named = is_named(directory_fd_, kEventsFile, fd);  // looked at before the rest of it is read
      if (auto read = read_file(kEventsFile, fd); !read || lines_->enough() || !follow_) return read;
      looks_behind += !was_named;
      usleep(kPoll_us);
    }
    lines_->forget_rest();
    last_ = number_after_rename(fd);
    return {};
  }

  /// What was events.jsonl a moment ago. One that somebody else named otherwise has no number.
  std::uint64_t number_after_rename(int fd) const {
    for (const RotatedFile& file : rotated_files(directory_fd_))
      if (is_named(directory_fd_, file.name.c_str(), fd)) return file.number;
    struct stat status {};
    const bool compressed = fstat(fd, &status) == 0 && status.st_nlink == 0;
    return compressed && !all_put_aside_read() ? last_ + 1 : last_;
  }

  int directory_fd_;
  const std::string& path_;
  bool follow_;
  Lines* lines_;
  std::uint64_t last_ = 0;  // number of the file that was read last
  std::string missing_;
};

}  // namespace

Result<void> read_events(const std::string& directory, bool follow,
                         const std::function<bool(const RecordedEvent&)>& see) {
  const UniqueFd opened(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened && errno == ENOTDIR)
    return Error{ENOTDIR, directory + " is no directory; give the one that --output named"};
  if (!opened) return Error{errno, "cannot read " + directory + ": " + strerror(errno)};
  Lines lines(see);
  return EventFiles(opened.get(), directory, follow, &lines).read_all();
}

}  // namespace watcher
