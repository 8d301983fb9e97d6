#include "runtime/process/worker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>

#include "runtime/base/process_start.h"
#include "runtime/process/worker_sandbox.h"

namespace watcher {
namespace {

constexpr int kEventsThere = 3;
constexpr int kRepliesThere = 4;
constexpr int kOutOfTheWay = 10;
constexpr int kPipeBytes = 1 << 20;
constexpr int kLongestEnd_ms = 100;

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error{errno, std::string("no pipe for a processor: ") + strerror(errno)};
  ::fcntl(ends[0], F_SETPIPE_SZ,
          kPipeBytes);  // an unprivileged user's pipes may be too many for it: then it is smaller
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

void do_not_block(int fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/// What the child needs, made before the fork.
struct Launch {
  const WorkerCommand& command;
  std::vector<char*> arguments;
  std::vector<char*> environment;
  pid_t parent;
  int events, replies, output;
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

void place_descriptors(const Launch& launch) {
  // they may be where others are to go
  const int events = ::fcntl(launch.events, F_DUPFD, kOutOfTheWay);
  const int replies = ::fcntl(launch.replies, F_DUPFD, kOutOfTheWay);
  const int output = ::fcntl(launch.output, F_DUPFD, kOutOfTheWay);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::dup2(events, kEventsThere);
  ::dup2(replies, kRepliesThere);
  if (::syscall(SYS_close_range, kRepliesThere + 1u, ~0u, 0u) != 0)
    for (long fd = ::sysconf(_SC_OPEN_MAX); fd > kRepliesThere; --fd) ::close(static_cast<int>(fd));
}

void restore_signals() {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void become_worker(const Launch& launch) {
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launch.parent) ::_exit(EXIT_FAILURE);
  place_descriptors(launch);
  restore_signals();
  limit_worker(launch.command.memory_mb);
  if (!launch.command.subprocesses) forbid_processes();
  ::execve(launch.arguments[0], launch.arguments.data(), launch.environment.data());
  ::_exit(127);
}

std::string end_of(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return "ended with status " + std::to_string(info.si_status);
  return std::string("was ended by ") + strsignal(info.si_status);
}

}  // namespace

WorkerProcess& WorkerProcess::operator=(WorkerProcess&& other) noexcept {
  if (this == &other) return *this;
  kill();
  events_ = std::move(other.events_);
  replies_ = std::move(other.replies_);
  output_ = std::move(other.output_);
  handle_ = std::move(other.handle_);
  pid_ = other.pid_;
  subprocesses_ = other.subprocesses_;
  return *this;
}

Result<WorkerProcess> WorkerProcess::start(const WorkerCommand& command) {
  Result<Pipe> events = make_pipe(), replies = make_pipe(), output = make_pipe();
  for (const Result<Pipe>* pipe : {&events, &replies, &output})
    if (!*pipe) return pipe->error();
  std::vector<std::string> arguments = command.arguments;
  std::vector<std::string> environment = worker_environment();
  const Launch launch{command,
                      pointers(arguments),
                      pointers(environment),
                      ::getpid(),
                      events.value().read.get(),
                      replies.value().write.get(),
                      output.value().write.get()};
  WorkerProcess worker;
  worker.pid_ = ::fork();
  if (worker.pid_ == 0) become_worker(launch);
  if (worker.pid_ < 0) return Error{errno, std::string("no process for a processor: ") + strerror(errno)};
  // The supervisor may reap any child that has ended; a number that was given away meanwhile has another parent.
  worker.handle_.reset(static_cast<int>(::syscall(SYS_pidfd_open, worker.pid_, 0)));
  if (!worker.handle_) return Error{errno, std::string("no handle of a processor's process: ") + strerror(errno)};
  worker.events_ = std::move(events.value().write);
  worker.replies_ = std::move(replies.value().read);
  worker.output_ = std::move(output.value().read);
  worker.subprocesses_ = command.subprocesses;
  for (const int fd : {worker.events_.get(), worker.replies_.get(), worker.output_.get()}) do_not_block(fd);
  return worker;
}

WorkerProcess::Activity WorkerProcess::activity() const {
  char path[64];
  ::snprintf(path, sizeof path, "/proc/%d/schedstat", pid_);
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  char text[128] = {};
  Activity activity;
  if (file && ::read(file.get(), text, sizeof text - 1) > 0) activity.ran_ns = std::strtoull(text, nullptr, 10);
  activity.runnable = process_activity(static_cast<std::uint32_t>(pid_)).state == 'R';
  return activity;
}

std::string WorkerProcess::kill() {
  if (!running()) return "ended";
  ::syscall(SYS_pidfd_send_signal, handle_.get(), SIGKILL, nullptr, 0);
  if (subprocesses_) ::kill(-pid_, SIGKILL);
  pollfd end{handle_.get(), POLLIN, 0};
  ::poll(&end, 1, kLongestEnd_ms);
  siginfo_t info{};
  const bool known =
      ::waitid(P_PIDFD, static_cast<id_t>(handle_.get()), &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0;
  handle_.reset();
  events_.reset();
  replies_.reset();
  output_.reset();
  return known ? end_of(info) : "ended";
}

void WorkerProcess::finish(int patience_ms) {
  if (!running()) return;
  events_.reset();
  pollfd end{handle_.get(), POLLIN, 0};
  ::poll(&end, 1, patience_ms);
  kill();
}

}  // namespace watcher
