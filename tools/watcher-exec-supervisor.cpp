#include "tools/watcher-exec-supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/unique_fd.h"

namespace watcher {
namespace {

constexpr long kIdle_ns = 5'000'000;
/// Longest wait for writers that outlive the program; they never need to fall silent.
constexpr time_t kLongestDrain_s = 10;
/// Longest wait for what shared a killed program's memory to end.
constexpr int kLongestLingering_ms = 500;

/// Sent by the terminal or another part of the kernel, and not by a process.
bool from_kernel(const siginfo_t& info) {
  return info.si_code > 0;
}

bool reaches_program_anyway(int signal) {
  switch (signal) {
    case SIGALRM:  // a timer set before exec is ours, but was meant for the program
    case SIGPWR:
      return false;
    case SIGHUP:  // a hangup is told to the session's leader only
    case SIGCONT:
      return getsid(0) != getpid();
    default:
      return true;  // the terminal's go to the whole group; SIGPIPE, SIGXFSZ and the like are ours
  }
}

bool should_forward(int signal, const siginfo_t& info, pid_t program) {
  if (signal == SIGCHLD) return false;  // our children's, or a closing writer's word that it waits for us
  if (from_kernel(info)) return !reaches_program_anyway(signal);
  // the program signalled its group, or what it takes for its parent; as process 1 we are what it takes for itself
  return info.si_pid != program || getpid() == 1;
}

void forward(int signal, siginfo_t& info, pid_t program) {
  // queued signals carry a value
  if (info.si_code == SI_QUEUE && syscall(SYS_rt_sigqueueinfo, program, signal, &info) == 0) return;
  kill(program, signal);
}

bool is_foreground_job() {
  const UniqueFd terminal(open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC));
  return terminal && tcgetpgrp(terminal.get()) == getpgrp();
}

bool has_default_action(int signal) {
  struct sigaction action;
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_DFL;
}

time_t now_s() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

/// Returns whether any descendant still lives.
bool reap_all() {
  pid_t reaped;
  do reaped = waitpid(-1, nullptr, WNOHANG);
  while (reaped > 0);
  return reaped == 0;
}

}  // namespace

void Supervisor::stop_like_program(int signal) {
  if (signal == SIGSTOP) {
    // without a shell that waits for the job, nobody would continue us together with the program
    if (is_foreground_job()) raise(SIGSTOP);
    return;
  }
  if (signal != SIGTSTP && signal != SIGTTIN && signal != SIGTTOU) return;
  if (!has_default_action(signal)) return;
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, signal);
  kill(getpid(), signal);
  sigprocmask(SIG_UNBLOCK, &only, nullptr);  // stopped here, until SIGCONT
  sigprocmask(SIG_BLOCK, &only, nullptr);
}

/// True when the program has ended.
bool Supervisor::reap() {
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;) {
    if (pid != program_) continue;
    if (WIFSTOPPED(status)) {
      stop_like_program(WSTOPSIG(status));
      continue;
    }
    status_ = status;
    return true;
  }
  return false;
}

void Supervisor::wait_for_signal(bool busy) {
  sigset_t all;
  sigfillset(&all);
  const struct timespec patience = {0, busy ? 0 : kIdle_ns};
  siginfo_t info;
  const int signal = sigtimedwait(&all, &info, &patience);
  if (signal == SIGHUP && !from_kernel(info)) collector_.rotate();
  if (signal > 0 && !insists(signal) && should_forward(signal, info, program_)) forward(signal, info, program_);
}

bool Supervisor::insists(int signal) {
  if (!insistent_ || (signal != SIGINT && signal != SIGTERM)) return false;
  if (interrupted_ == 0) {
    interrupted_ = signal;
    return false;
  }
  hurried_ = true;
  kill(program_, SIGKILL);
  return true;
}

int Supervisor::run() {
  while (!reap()) {
    wait_for_signal(collector_.step() > 0);
    control_.serve();
  }
  return status_;
}

void Supervisor::drain() {
  const time_t deadline = now_s() + kLongestDrain_s;
  for (int lingered_ms = 0;;) {
    const bool others_live = reap_all();
    if (collector_.step() == 0) {
      if (!collector_.lingering() || ++lingered_ms > kLongestLingering_ms) break;
      usleep(1000);
    }
    if (others_live && (hurried_ || now_s() > deadline)) break;
  }
  collector_.recover();
}

}  // namespace watcher
