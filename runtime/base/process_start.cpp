#include "runtime/base/process_start.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/base/text_buffer.h"

namespace watcher {
namespace {

// Fields of /proc/PID/stat are counted after the last ')': the command's name may hold anything.
constexpr int kUserTimeField = 14;
constexpr int kSystemTimeField = 15;
constexpr int kStartTimeField = 22;
constexpr int kFirstFieldAfterName = 3;

class Stat {
 public:
  explicit Stat(std::uint32_t pid) {
    TextBuffer<64> path;
    path.add("/proc/").add_decimal(pid).add("/stat");
    const long fd = raw_syscall(SYS_openat, AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return;
    length_ = raw_syscall(SYS_read, fd, text_, sizeof text_);
    raw_syscall(SYS_close, fd);
    for (after_name_ = length_; after_name_ > 0 && text_[after_name_ - 1] != ')';) --after_name_;
  }

  explicit operator bool() const { return after_name_ > 0 && after_name_ + 1 < length_; }
  char state() const { return text_[after_name_ + 1]; }
  std::uint32_t number(int wanted) const {
    long at = after_name_;
    for (int field = kFirstFieldAfterName - 1; at < length_ && field < wanted; ++at) field += text_[at] == ' ';
    std::uint64_t ticks = 0;
    for (; at < length_ && text_[at] >= '0' && text_[at] <= '9'; ++at)
      ticks = ticks * 10 + static_cast<std::uint64_t>(text_[at] - '0');
    return static_cast<std::uint32_t>(ticks);
  }

 private:
  char text_[1024];
  long length_ = 0;
  long after_name_ = 0;
};

}  // namespace

std::uint32_t process_start_ticks(std::uint32_t pid) {
  const Stat stat(pid);
  return stat ? stat.number(kStartTimeField) : 0;
}

char process_state(std::uint32_t pid) {
  if (pid == 0) return 0;
  if (const Stat stat(pid); stat) return stat.state() == 'Z' || stat.state() == 'X' ? 0 : stat.state();
  return raw_syscall(SYS_kill, pid, 0) == 0 ? '?' : 0;
}

ProcessActivity process_activity(std::uint32_t pid) {
  const Stat stat(pid);
  if (!stat) return {};
  return {stat.state(), stat.number(kUserTimeField) + stat.number(kSystemTimeField)};
}

}  // namespace watcher
