// read_events: the files of an output directory as one stream of lines.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <vector>

#include "runtime/base/unique_fd.h"
#include "tools/recorded-events.h"

namespace watcher {
namespace {

constexpr const char* kCurrent = "events.jsonl";
constexpr unsigned kPoll_us = 50'000;
constexpr std::size_t kBlock = 1 << 16;

/// events-000001.jsonl, .gz and .zst; their names' order is that of the events.
std::vector<std::string> files_put_aside(const std::string& directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()), closedir);
  while (const dirent* entry = stream ? readdir(stream.get()) : nullptr) {
    const std::string_view name = entry->d_name;
    const bool known = name.ends_with(".jsonl") || name.ends_with(".jsonl.gz") || name.ends_with(".jsonl.zst");
    if (name.starts_with("events-") && known) names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Feeds lines out of blocks; keeps an unfinished one.
class Lines {
 public:
  explicit Lines(const std::function<bool(const RecordedEvent&)>& see) : see_(see) {}

  /// False when enough was seen.
  bool feed(std::string_view block) {
    for (std::size_t end; (end = block.find('\n')) != block.npos; block.remove_prefix(end + 1)) {
      rest_.append(block.substr(0, end));
      if (event_.parse(rest_) && !see_(event_)) return false;
      rest_.clear();
    }
    rest_.append(block);
    return true;
  }
  void forget_rest() { rest_.clear(); }

 private:
  const std::function<bool(const RecordedEvent&)>& see_;
  RecordedEvent event_;
  std::string rest_;
};

enum class Read { kAll, kEnough, kFailed };

Read read_all(int fd, Lines& lines) {
  char block[kBlock];
  for (ssize_t got; (got = read(fd, block, sizeof block)) != 0;) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Read::kFailed;
    if (!lines.feed({block, static_cast<std::size_t>(got)})) return Read::kEnough;
  }
  return Read::kAll;
}

/// Through gzip or zstd.
Read read_compressed(const std::string& path, Lines& lines) {
  const char* program = path.ends_with(".gz") ? "gzip" : "zstd";
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Read::kFailed;
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    dup2(writing.get(), STDOUT_FILENO);
    execlp(program, program, "-dc", "--", path.c_str(), nullptr);
    _exit(127);
  }
  writing = UniqueFd();
  const Read read = child < 0 ? Read::kFailed : read_all(reading.get(), lines);
  if (child > 0 && read == Read::kEnough) kill(child, SIGTERM);
  int status = 0;
  if (child > 0) waitpid(child, &status, 0);
  return read == Read::kAll && status != 0 ? Read::kFailed : read;
}

Read read_file(const std::string& path, Lines& lines) {
  if (!path.ends_with(".jsonl")) return read_compressed(path, lines);
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file ? read_all(file.get(), lines) : Read::kFailed;
}

bool is_still_named(int fd, const std::string& path) {
  struct stat named {
  }, opened{};
  return stat(path.c_str(), &named) == 0 && fstat(fd, &opened) == 0 && named.st_ino == opened.st_ino &&
         named.st_dev == opened.st_dev;
}

Error cannot_read(const std::string& path) {
  return Error{errno, "cannot read " + path + (errno ? std::string(": ") + strerror(errno) : "")};
}

/// events.jsonl from its beginning; when it is put aside, what is still in it and then the next one.
Result<void> follow_current(const std::string& path, Lines& lines) {
  for (;;) {
    const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    while (file) {
      const bool was_named = is_still_named(file.get(), path);  // looked at first: what follows in it is read below
      const Read read = read_all(file.get(), lines);
      if (read == Read::kEnough) return {};
      if (read == Read::kFailed) return cannot_read(path);
      if (!was_named) break;
      usleep(kPoll_us);
    }
    lines.forget_rest();
    if (!file) usleep(kPoll_us);
  }
}

}  // namespace

Result<void> read_events(const std::string& directory, bool follow,
                         const std::function<bool(const RecordedEvent&)>& see) {
  struct stat status {};
  if (stat(directory.c_str(), &status) != 0) return cannot_read(directory);
  if (!S_ISDIR(status.st_mode)) return Error{ENOTDIR, directory + " is no directory; give the one that --output named"};
  Lines lines(see);
  for (const std::string& name : files_put_aside(directory)) {
    const Read read = read_file(directory + "/" + name, lines);
    if (read == Read::kEnough) return {};
    if (read == Read::kFailed) return cannot_read(directory + "/" + name);
    lines.forget_rest();
  }
  const std::string current = directory + "/" + kCurrent;
  if (follow) return follow_current(current, lines);
  if (access(current.c_str(), F_OK) != 0)
    return Error{
        errno, "there is no " + std::string(kCurrent) + " in " + directory + "; is it an output directory of Watcher?"};
  return read_file(current, lines) == Read::kFailed ? Result<void>(cannot_read(current)) : Result<void>();
}

}  // namespace watcher
