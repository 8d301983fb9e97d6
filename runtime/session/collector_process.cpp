#include "runtime/session/collector_process.h"

#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "config/environment.h"
#include "runtime/base/raw_syscall.h"

namespace watcher {
namespace {

char* keep(const std::string& text) {
  return strdup(text.c_str());
}

bool starts_with(const char* text, const char* prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

// The child shares our memory and stack until it execs or ends, and we sleep that long. No exit signal: the host's
// SIGCHLD handlers and wait() calls are not disturbed.
inline __attribute__((always_inline)) long clone_sharing_memory() {
  return raw_syscall(SYS_clone, CLONE_VM | CLONE_VFORK, nullptr, nullptr, nullptr, nullptr);
}

// Returns the grandchild's pid, or a negative errno. There the caller's signals are all blocked, and its handlers are
// gone with the exec; ignored ones are not.
__attribute__((noinline)) long start_detached(const char* path, char* const* arguments, char* const* environment) {
  volatile long started = 0, failure = 0;  // written by the two, in our memory
  const long middle = clone_sharing_memory();
  if (middle != 0) {
    if (middle > 0) raw_syscall(SYS_wait4, middle, nullptr, __WALL, nullptr);
    if (middle < 0) return middle;
    return failure != 0 ? failure : started;
  }
  started = clone_sharing_memory();
  if (started == 0) {
    failure = raw_syscall(SYS_execve, path, arguments, environment);
    raw_syscall(SYS_exit, 127);
  }
  raw_syscall(SYS_exit, 0);
  __builtin_unreachable();
}

}  // namespace

bool CollectorProcess::prepare(const std::string& directory, const std::string& output, const std::string& config,
                               std::uint64_t run_id) {
  for (const char* candidate : {"/watcher-collector", "/../tools/watcher-collector"}) {
    const std::string path = directory + candidate;
    if (access(path.c_str(), X_OK) != 0) continue;
    path_ = keep(path);
    break;
  }
  if (path_ == nullptr) return false;
  arguments_ = new char* [3] { path_, keep(output), nullptr };
  std::vector<char*> environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const bool ours = starts_with(*entry, "LD_PRELOAD=") || starts_with(*entry, "WATCHER_RUN_ID=") ||
                      starts_with(*entry, "WATCHER_OUTPUT=") || starts_with(*entry, "WATCHER_CONFIG=");
    if (!ours) environment.push_back(keep(*entry));
  }
  char hex[17];
  snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(run_id));
  environment.push_back(keep(std::string(kRunIdVariable) + "=" + hex));
  environment.push_back(keep("WATCHER_OUTPUT=" + output));
  if (!config.empty()) environment.push_back(keep("WATCHER_CONFIG=" + config));
  environment_ = new char*[environment.size() + 1];
  for (std::size_t i = 0; i < environment.size(); ++i) environment_[i] = environment[i];
  environment_[environment.size()] = nullptr;
  return true;
}

std::uint32_t CollectorProcess::spawn() const {
  if (path_ == nullptr) return 0;
  std::uint64_t all = ~0ull, previous = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &previous, sizeof all);
  const long result = start_detached(path_, arguments_, environment_);
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &previous, nullptr, sizeof previous);
  return result > 0 ? static_cast<std::uint32_t>(result) : 0;
}

}  // namespace watcher
