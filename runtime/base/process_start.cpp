#include "runtime/base/process_start.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/base/text_buffer.h"

namespace watcher {
namespace {

// Fields of /proc/PID/stat are counted after the last ')': the command's name may hold anything.
constexpr int kStartTimeField = 22;
constexpr int kFirstFieldAfterName = 3;

std::uint32_t parse_start_ticks(const char* text, long length) {
  long at = length;
  while (at > 0 && text[at - 1] != ')') --at;
  int field = kFirstFieldAfterName - 1;
  for (; at < length && field < kStartTimeField; ++at) field += text[at] == ' ';
  std::uint64_t ticks = 0;
  for (; at < length && text[at] >= '0' && text[at] <= '9'; ++at)
    ticks = ticks * 10 + static_cast<std::uint64_t>(text[at] - '0');
  return static_cast<std::uint32_t>(ticks);
}

}  // namespace

std::uint32_t process_start_ticks(std::uint32_t pid) {
  TextBuffer<64> path;
  path.add("/proc/").add_decimal(pid).add("/stat");
  const long fd = raw_syscall(SYS_openat, AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  char text[1024];
  const long length = raw_syscall(SYS_read, fd, text, sizeof text);
  raw_syscall(SYS_close, fd);
  return length > 0 ? parse_start_ticks(text, length) : 0;
}

}  // namespace watcher
