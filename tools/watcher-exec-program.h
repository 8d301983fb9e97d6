// The program as a child process: found, started with the signal state that watcher-exec itself was started with, and
// how it ended. Single-threaded.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <string>

namespace watcher {

/// Why a program cannot be run, as a shell would say it.
struct StartFault {
  int exit_code = 0;  // 127: not there, 126: not executable, 0: nothing is wrong
  std::string sentence;
};

/// Looks for the program as execvp does, before anything is started.
StartFault check_program(const std::string& name);
StartFault start_fault(const std::string& name, int code);

/// What this process was started with, and the program is to be started with.
struct SignalState {
  sigset_t mask;
  struct sigaction child_action;
};

/// Blocks every signal, so that they can be waited for, and makes children waitable.
SignalState block_signals();

class Program {
 public:
  /// Forks and executes; a failed execution is learnt from `exec_error` once the child has ended.
  static Program start(char** arguments, const SignalState& state);

  pid_t pid() const { return pid_; }
  /// errno of a failed fork or exec, else 0.
  int error() const { return error_; }
  int exec_error() const { return *shared_error_; }

 private:
  pid_t pid_ = -1;
  int error_ = 0;
  int* shared_error_ = nullptr;  // one page shared with the child: no descriptor is needed; process-lifetime
};

/// Becomes the program; returns errno.
int replace_with(char** arguments);

/// Ends this process by the same signal, or with 128 + signal where that is impossible (process 1).
[[noreturn]] void die_by(int signal);

}  // namespace watcher
