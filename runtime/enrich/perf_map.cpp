#include "runtime/enrich/perf_map.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

#include "runtime/base/unique_fd.h"

namespace watcher {
namespace {

constexpr std::uint64_t kMostBytes = 256u << 20;

/// Takes a hexadecimal number and the blank behind it off the front.
bool take_number(std::string_view* line, std::uint64_t* number) {
  if (line->starts_with("0x")) line->remove_prefix(2);
  const auto [end, fault] = std::from_chars(line->data(), line->data() + line->size(), *number, 16);
  if (fault != std::errc() || end == line->data() + line->size() || *end != ' ') return false;
  line->remove_prefix(static_cast<std::size_t>(end + 1 - line->data()));
  return true;
}

}  // namespace

// What is compiled over older code comes later in the file.
void PerfMap::add_line(std::string_view line) {
  std::uint64_t begin = 0;
  std::uint64_t bytes = 0;
  std::uint64_t end = 0;
  if (!take_number(&line, &begin) || !take_number(&line, &bytes) || line.empty()) return;
  if (bytes == 0 || __builtin_add_overflow(begin, bytes, &end)) return;
  auto old = functions_.lower_bound(begin);
  if (old != functions_.begin() && std::prev(old)->second.end > begin) --old;
  while (old != functions_.end() && old->first < end) old = functions_.erase(old);
  functions_.insert({begin, {end, std::string(line)}});
}

// A file that anybody may put into /tmp: only the user's own one is read.
void PerfMap::read_more() {
  const UniqueFd file(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid()) return;
  char block[64 * 1024];
  while (read_bytes_ < kMostBytes) {
    const ssize_t got = pread(file.get(), block, sizeof block, static_cast<off_t>(read_bytes_));
    if (got <= 0) return;
    read_bytes_ += static_cast<std::uint64_t>(got);
    partial_.append(block, static_cast<std::size_t>(got));
    std::size_t from = 0;
    for (std::size_t end = 0; (end = partial_.find('\n', from)) != partial_.npos; from = end + 1)
      add_line(std::string_view(partial_).substr(from, end - from));
    partial_.erase(0, from);
  }
}

PerfMap::Function* PerfMap::lookup(std::uint64_t address) {
  auto after = functions_.upper_bound(address);
  if (after == functions_.begin() || (--after)->second.end <= address) return nullptr;
  return &after->second;
}

PerfMap::Function* PerfMap::find(std::uint64_t address) {
  struct stat status {};
  const bool grew = stat(path_.c_str(), &status) == 0 && static_cast<std::uint64_t>(status.st_size) > read_bytes_;
  if (grew) read_more();
  return lookup(address);
}

}  // namespace watcher
