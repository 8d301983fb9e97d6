#include "runtime/output/journal/rotated_names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

namespace watcher {
namespace {

constexpr std::string_view kPrefix = "events-";
constexpr std::string_view kSuffix = ".jsonl";
constexpr int kAttempts = 100;
constexpr std::uint64_t kLargestNumber = 1'000'000'000'000;  // beyond it the name is not one of ours

// Where the file system does not know the flag, the lock alone keeps the name from being taken twice.
bool rename_to_new(int directory_fd, const char* name) {
  if (::renameat2(directory_fd, kEventsFile, directory_fd, name, RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL || ::faccessat(directory_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) return false;
  return ::renameat(directory_fd, kEventsFile, directory_fd, name) == 0;
}

}  // namespace

std::optional<RotatedFile> parse_rotated_name(std::string_view name) {
  RotatedFile file{.number = 0, .compressed = false, .name = std::string(name)};
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* digits = name.data() + kPrefix.size();
  const auto [end, fault] = std::from_chars(digits, name.data() + name.size(), file.number);
  if (fault != std::errc() || file.number == 0 || file.number > kLargestNumber) return std::nullopt;
  const std::string_view rest = name.substr(static_cast<std::size_t>(end - name.data()));
  if (!rest.starts_with(kSuffix)) return std::nullopt;
  const std::string_view packing = rest.substr(kSuffix.size());
  if (!packing.empty() && packing != ".gz" && packing != ".zst") return std::nullopt;
  file.compressed = !packing.empty();
  return file;
}

std::vector<RotatedFile> rotated_files(int directory_fd) {
  std::vector<RotatedFile> found;
  const int own = ::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(own >= 0 ? ::fdopendir(own) : nullptr, ::closedir);
  while (directory != nullptr) {
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    if (std::optional<RotatedFile> file = parse_rotated_name(entry->d_name)) found.push_back(std::move(*file));
  }
  std::sort(found.begin(), found.end(), [](const RotatedFile& a, const RotatedFile& b) { return a.number < b.number; });
  return found;
}

Result<void> put_aside(int directory_fd) {
  const std::vector<RotatedFile> files = rotated_files(directory_fd);
  std::uint64_t number = files.empty() ? 0 : files.back().number;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    char name[64];
    ::snprintf(name, sizeof name, "events-%06llu.jsonl", static_cast<unsigned long long>(++number));
    if (rename_to_new(directory_fd, name)) return {};
    if (errno != EEXIST) break;
  }
  return Error{errno, std::string("events.jsonl: rotate: ") + strerror(errno)};
}

bool is_named(int directory_fd, const char* name, int file_fd) {
  struct stat named {};
  struct stat open {};
  return ::fstatat(directory_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && ::fstat(file_fd, &open) == 0 &&
         named.st_dev == open.st_dev && named.st_ino == open.st_ino;
}

std::uint64_t milliseconds_unchanged(const struct stat& status) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const auto milliseconds = [](const timespec& time) { return time.tv_sec * 1000 + time.tv_nsec / 1'000'000; };
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, milliseconds(now) - milliseconds(status.st_ctim)));
}

}  // namespace watcher
