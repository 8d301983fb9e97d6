// watcher pause, resume, status: asks the collector of a running process.
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <fstream>
#include <optional>

#include "runtime/base/unique_fd.h"
#include "runtime/collect/control_socket.h"
#include "runtime/queue/ring_header.h"
#include "tools/terminal-text.h"
#include "tools/watcher-commands.h"

namespace watcher {
namespace {

struct Ring {
  std::string directory;
  std::string name;  // ring.123: the number is that of the process's own pid name space
};

/// The queue that the process has mapped.
std::optional<Ring> find_ring(int pid) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::size_t path = line.find('/');
    const std::size_t name = line.rfind("/ring.");
    if (path == line.npos || name == line.npos || line.find_first_not_of("0123456789", name + 6) != line.npos) continue;
    return Ring{line.substr(path, name - path), line.substr(name + 1)};
  }
  return std::nullopt;
}

std::string why_not(int pid) {
  const std::string process = "process " + std::to_string(pid);
  if (kill(pid, 0) != 0 && errno == ESRCH) return "there is no " + process;
  if (access(("/proc/" + std::to_string(pid) + "/maps").c_str(), R_OK) != 0 || (kill(pid, 0) != 0 && errno == EPERM))
    return process + " belongs to another user; only its own and root may ask";
  return process + " is not recorded by Watcher: it has no event queue";
}

Result<pid_t> collector_of(const Ring& ring) {
  const std::string path = ring.directory + "/" + ring.name;
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  std::uint32_t pid = 0;
  if (!file) return Error{errno, "cannot open " + path + ": " + strerror(errno)};
  if (pread(file.get(), &pid, sizeof pid, offsetof(RingHeader, collector_pid)) != sizeof pid || pid == 0)
    return Error{ESRCH, "nobody collects from " + path};
  return static_cast<pid_t>(pid);
}

}  // namespace

int control(const ControlRequest& request) {
  const auto ring = find_ring(request.pid);
  if (!ring) return complain_and_return(kNothing, why_not(request.pid));
  const auto collector = collector_of(*ring);
  if (!collector) return complain_and_return(kNothing, collector.error().message);
  const auto reply = ask_collector(ring->directory, collector.value(), request.verb, ring->name);
  if (!reply)
    return complain_and_return(kNothing, "process " + std::to_string(request.pid) + ": " + reply.error().message);
  std::printf("%soutput %s\n", reply.value().c_str(), safe_text(ring->directory).c_str());
  return std::fflush(stdout) == 0 ? kFine : kMistake;
}

}  // namespace watcher
