#include "tools/watcher-exec-program.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace watcher {
namespace {

/// 0, or why this file cannot be executed.
int execution_error(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return errno;
  if (!S_ISREG(status.st_mode)) return EACCES;
  return access(path.c_str(), X_OK) == 0 ? 0 : errno;
}

std::string search_path() {
  if (const char* path = getenv("PATH")) return path;
  char fallback[256];
  confstr(_CS_PATH, fallback, sizeof fallback);
  return fallback;
}

int search_error(const std::string& name) {
  const std::string path = search_path();
  std::string_view rest = path;
  int error = ENOENT;
  for (bool more = true; more;) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::string directory(rest.substr(0, end));
    const std::string file = (directory.empty() ? "." : directory) + "/" + name;
    const int tried = execution_error(file);
    if (tried == 0) return 0;
    // a directory that we may not look into holds nothing for us
    if (tried == EACCES && access(file.c_str(), F_OK) == 0) error = EACCES;
    more = end < rest.size();
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return error;
}

[[noreturn]] void execute_in_child(char** arguments, const SignalState& state, pid_t parent, int* shared_error) {
  // whoever kills watcher-exec means the program, and has no other handle on it
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(128 + SIGKILL);
  sigaction(SIGCHLD, &state.child_action, nullptr);
  sigprocmask(SIG_SETMASK, &state.mask, nullptr);
  *shared_error = replace_with(arguments);
  _exit(*shared_error == ENOENT ? 127 : 126);
}

}  // namespace

StartFault start_fault(const std::string& name, int code) {
  if (code == 0) return {};
  const bool is_there = code == ENOENT && name.find('/') != std::string::npos && access(name.c_str(), F_OK) == 0;
  const std::string why = is_there ? "its interpreter is missing" : strerror(code);
  return {code == ENOENT || code == ENOTDIR ? 127 : 126, "cannot run " + name + ": " + why};
}

StartFault check_program(const std::string& name) {
  if (name.empty()) return start_fault("''", ENOENT);
  const bool has_directory = name.find('/') != std::string::npos;
  return start_fault(name, has_directory ? execution_error(name) : search_error(name));
}

SignalState block_signals() {
  SignalState state;
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &state.mask);
  // where SIGCHLD is ignored, children vanish unseen
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &standard, &state.child_action);
  return state;
}

Program Program::start(char** arguments, const SignalState& state) {
  Program program;
  void* page = mmap(nullptr, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    program.error_ = errno;
    return program;
  }
  program.shared_error_ = static_cast<int*>(page);
  const pid_t parent = getpid();
  program.pid_ = fork();
  if (program.pid_ == 0) execute_in_child(arguments, state, parent, program.shared_error_);
  if (program.pid_ < 0) program.error_ = errno;
  return program;
}

int replace_with(char** arguments) {
  execvp(arguments[0], arguments);
  return errno;
}

void die_by(int signal) {
  // the core is the program's; ours would only hide it
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  sigaction(signal, &standard, nullptr);
  kill(getpid(), signal);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, signal);
  sigprocmask(SIG_UNBLOCK, &only, nullptr);
  _exit(128 + signal);
}

}  // namespace watcher
