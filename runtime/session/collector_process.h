// The process that drains our ring when watcher-exec is not there to do it.
//
// The helper is started as a grandchild whose parent has ended, without SIGCHLD: the host's wait() never sees it. It
// gets the host's environment less LD_PRELOAD, with what it must know in WATCHER_*.
#pragma once

#include <cstdint>
#include <string>

namespace watcher {

class CollectorProcess {
 public:
  /// Finds the helper beside the runtime and keeps command line and environment ready. Not in a signal handler.
  bool prepare(const std::string& directory, const std::string& output, const std::string& config,
               std::uint64_t run_id);
  /// Starts one. Async-signal-safe, any thread; its pid, 0 when it could not be started.
  std::uint32_t spawn() const;

 private:
  char* path_ = nullptr;  // process-lifetime
  char** arguments_ = nullptr;
  char** environment_ = nullptr;
};

}  // namespace watcher
