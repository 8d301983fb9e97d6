// A worker: a process of its own that runs a user's processor. It cannot harm the run: own session, none of our
// descriptors, no LD_PRELOAD, bounded memory and files, no processes of its own unless they are allowed; it dies with
// the thread that started it, and when it is killed nothing of it is left.
//
// One thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/base/unique_fd.h"

namespace watcher {

struct WorkerCommand {
  std::vector<std::string> arguments;  // the first is the program's path
  std::uint64_t memory_mb = 512;
  bool subprocesses = false;
};

class WorkerProcess {
 public:
  /// An execution that fails is seen as the worker's end, with status 127.
  static Result<WorkerProcess> start(const WorkerCommand& command);
  WorkerProcess() = default;
  WorkerProcess(WorkerProcess&&) = default;
  WorkerProcess& operator=(WorkerProcess&& other) noexcept;
  ~WorkerProcess() { kill(); }

  bool running() const { return static_cast<bool>(handle_); }
  int events() const { return events_.get(); }    // descriptor 3 there; not blocking here
  int replies() const { return replies_.get(); }  // descriptor 4 there; not blocking here
  int output() const { return output_.get(); }    // its standard output and error; not blocking here
  int handle() const { return handle_.get(); }    // becomes readable when it ends

  struct Activity {
    bool runnable = false;     // it runs, or waits for a processor
    std::uint64_t ran_ns = 0;  // its main thread, since it was started
  };
  Activity activity() const;
  /// Kills what is left of it; returns how it ended, as a sentence's end: "ended with status 3".
  std::string kill();
  /// No more events: waits for its end that long, then kills.
  void finish(int patience_ms);

 private:
  UniqueFd events_;
  UniqueFd replies_;
  UniqueFd output_;
  UniqueFd handle_;
  pid_t pid_ = -1;
  bool subprocesses_ = false;
};

}  // namespace watcher
