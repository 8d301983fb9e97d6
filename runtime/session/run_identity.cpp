#include "runtime/session/run_identity.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/queue/event_ring.h"

namespace watcher {
namespace {

constexpr int kMaxGenerations = 16;

/// Parent of a process, by /proc/PID/stat: the second field after the command's closing parenthesis.
pid_t parent_of(pid_t pid) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  if (got <= 0) return 0;
  text[got] = 0;
  const char* after = strrchr(text, ')');
  int parent = 0;
  return after != nullptr && sscanf(after + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

}  // namespace

RunIdentity run_of_ancestor(const std::string& output) {
  pid_t pid = getppid();
  for (int generation = 0; generation < kMaxGenerations && pid > 1; ++generation, pid = parent_of(pid)) {
    const int fd = open((output + "/ring." + std::to_string(pid)).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    RingHeader header;
    const bool whole = read(fd, static_cast<void*>(&header), sizeof header) == static_cast<ssize_t>(sizeof header);
    close(fd);
    if (whole && header.magic == kRingMagic && header.version == kRingVersion)
      return {header.run_id, header.collector_pid.load(std::memory_order_relaxed)};
  }
  return {};
}

}  // namespace watcher
