#include "runtime/capture/threads/thread_list.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cstdint>

#include "runtime/base/raw_syscall.h"

namespace watcher {
namespace {

constexpr int kLowestDescriptor = 900;  // hosts count on the low ones
constexpr const char* kDirectory = "/proc/self/task";

struct DirectoryEntry {  // linux_dirent64
  std::uint64_t inode;
  std::int64_t offset;
  std::uint16_t bytes;
  std::uint8_t type;
  char name[];
};

int number_in(const char* text) {
  int number = 0;
  for (; *text >= '0' && *text <= '9'; ++text) number = number * 10 + (*text - '0');
  return *text == '\0' ? number : 0;
}

}  // namespace

ThreadList::ThreadList() : descriptor_(-1) {
  const long low = raw_syscall(SYS_openat, AT_FDCWD, kDirectory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (low < 0) return;
  descriptor_ = static_cast<int>(raw_syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, kLowestDescriptor));
  raw_syscall(SYS_close, low);
}

ThreadList::~ThreadList() {
  if (descriptor_ >= 0) raw_syscall(SYS_close, descriptor_);
}

int ThreadList::next() {
  for (;;) {
    if (at_ == held_) {
      const long got = raw_syscall(SYS_getdents64, descriptor_, buffer_, sizeof buffer_);
      if (got <= 0) return 0;
      held_ = static_cast<std::size_t>(got);
      at_ = 0;
    }
    const auto* entry = reinterpret_cast<const DirectoryEntry*>(buffer_ + at_);
    at_ += entry->bytes;
    if (const int number = number_in(entry->name); number != 0) return number;
  }
}

// The directory has a link for each of its directories, and two for itself.
bool only_thread() {
  struct stat status;
  return raw_syscall(SYS_newfstatat, AT_FDCWD, kDirectory, &status, 0) == 0 && status.st_nlink == 3;
}

}  // namespace watcher
