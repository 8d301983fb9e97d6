#include "runtime/output/journal/journal_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "runtime/output/journal/own_file.h"
#include "runtime/output/journal/rotated_names.h"

namespace watcher {
namespace {

constexpr std::size_t kBlockBytes = 256 * 1024;
constexpr std::size_t kLongestLine = 64u << 20;
constexpr std::uint64_t kNoNumber = ~std::uint64_t{0};
/// A collector that goes on without the lock may still write to a file that was put aside a moment ago.
constexpr std::uint64_t kQuietMs = 100;

struct Found {
  JournalPosition start;
  std::uint64_t size = 0;
};

/// The file under a name of the directory, or the open file when the name is empty.
std::optional<Found> look_at(int fd, const char* name) {
  struct statx status {};
  const int flags = AT_SYMLINK_NOFOLLOW | (*name == '\0' ? AT_EMPTY_PATH : 0);
  if (::statx(fd, name, flags, STATX_INO | STATX_SIZE | STATX_BTIME, &status) != 0) return std::nullopt;
  const std::uint64_t device = std::uint64_t{status.stx_dev_major} << 32 | status.stx_dev_minor;
  const bool knows_birth = (status.stx_mask & STATX_BTIME) != 0;
  const auto seconds = static_cast<std::uint64_t>(status.stx_btime.tv_sec);
  const std::uint64_t born_ns = knows_birth ? seconds * 1'000'000'000u + status.stx_btime.tv_nsec : 0;
  return Found{{device, status.stx_ino, born_ns, 0}, status.stx_size};
}

bool same_file(JournalPosition a, JournalPosition b) {
  a.offset = b.offset = 0;
  return a == b;
}

/// Name and number of the file put aside that has this position, or an empty name.
RotatedFile find_file(int directory_fd, const JournalPosition& position) {
  for (const RotatedFile& file : rotated_files(directory_fd)) {
    if (file.compressed) continue;
    const std::optional<Found> found = look_at(directory_fd, file.name.c_str());
    if (found && same_file(found->start, position)) return file;
  }
  return {.number = kNoNumber, .compressed = false, .name = ""};
}

}  // namespace

JournalPosition journal_end(int directory_fd) {
  std::optional<Found> found = look_at(directory_fd, kEventsFile);
  if (!found) return {};
  found->start.offset = found->size;
  return found->start;
}

std::uint64_t journal_file_number(int directory_fd, const JournalPosition& position) {
  return find_file(directory_fd, position).number;
}

bool JournalReader::open(const char* name, std::uint64_t offset) {
  Result<UniqueFd> file = open_own_file(directory_fd_, name, O_RDONLY);
  if (!file) return false;
  const std::optional<Found> found = look_at(file.value().get(), "");
  if (!found) return false;
  file_ = std::move(file.value());
  position_ = found->start;
  position_.offset = offset;
  begin_ = end_ = 0;
  return true;
}

void JournalReader::seek(const JournalPosition& position) {
  file_.reset();
  position_ = position;
  const RotatedFile aside = find_file(directory_fd_, position);
  if (!aside.name.empty() && open(aside.name.c_str(), position.offset)) return;
  const std::optional<Found> current = look_at(directory_fd_, kEventsFile);
  const bool goes_on = current && same_file(current->start, position) && position.offset <= current->size;
  open(kEventsFile, goes_on ? position.offset : 0);
}

bool JournalReader::is_in_last_file() const {
  return !file_ || is_named(directory_fd_, kEventsFile, file_.get());
}

/// Nobody writes to it any more.
bool JournalReader::is_left_behind() const {
  struct stat status {};
  if (!file_ || ::fstat(file_.get(), &status) != 0) return true;
  if (is_named(directory_fd_, kEventsFile, file_.get())) return false;
  return status.st_nlink == 0 || milliseconds_unchanged(status) >= kQuietMs;
}

/// The file with the next number; events.jsonl when there is none.
bool JournalReader::open_next() {
  const std::uint64_t number = journal_file_number(directory_fd_, position_);
  for (const RotatedFile& file : rotated_files(directory_fd_))
    if (number != kNoNumber && file.number > number && !file.compressed) return open(file.name.c_str(), 0);
  return open(kEventsFile, 0);
}

std::string_view JournalReader::read_lines() {
  if (!file_) return {};
  for (;;) {
    const std::string_view read(buffer_.data() + begin_, end_ - begin_);
    const std::size_t newline = read.rfind('\n');
    if (newline != std::string_view::npos) return read.substr(0, newline + 1);
    if (read.size() >= kLongestLine) return {};
    memmove(buffer_.data(), buffer_.data() + begin_, read.size());
    begin_ = 0;
    end_ = read.size();
    buffer_.resize(end_ + kBlockBytes);
    const auto offset = static_cast<off_t>(position_.offset + end_);
    const ssize_t got = ::pread(file_.get(), buffer_.data() + end_, kBlockBytes, offset);
    if (got > 0) end_ += static_cast<std::size_t>(got);
    // The beginning of a line may be cut away again by a writer: it is read anew next time.
    if (got == 0) end_ = begin_;
    if (got == 0 || (got < 0 && errno != EINTR)) return {};
  }
}

std::string_view JournalReader::lines() {
  std::string_view found = read_lines();
  if (!found.empty() || !is_left_behind()) return found;
  found = read_lines();  // what came between the two looks
  return found.empty() && open_next() ? read_lines() : found;
}

void JournalReader::consume(std::size_t bytes) {
  begin_ += bytes;
  position_.offset += bytes;
}

}  // namespace watcher
