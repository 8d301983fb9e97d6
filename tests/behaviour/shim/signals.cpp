// The scenarios of handler masks, temporary masks and the older names of signal calls.
#include <poll.h>
#include <signal.h>
#include <sys/select.h>

#include "tests/behaviour/shim/host.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace {

volatile sig_atomic_t handled = 0;

void count_signal(int) {
  handled = handled + 1;
}

const char* name_of(sighandler_t handler) {
  if (handler == SIG_ERR) return "error";
  if (handler == SIG_DFL) return "default";
  if (handler == SIG_IGN) return "ignored";
  if (handler == SIG_HOLD) return "held";
  return handler == count_signal ? "count_signal" : "another";
}

void show_action(const char* what, int signal_number) {
  struct sigaction action = {};
  const int result = sigaction(signal_number, nullptr, &action);
  printf("%s: %d %s flags %x mask", what, result, name_of(action.sa_handler), action.sa_flags & ~0x04000000);
  for (int i = 1; i < 65; ++i)
    if (sigismember(&action.sa_mask, i) == 1) printf(" %d", i);
  printf("\n");
}

sigset_t all_but(int signal_number) {
  sigset_t set;
  sigfillset(&set);
  sigdelset(&set, signal_number);
  return set;
}

/// A pending SIGALRM interrupts each; the mask is the call's own.
template <class Call>
void interrupted_by_pending(const char* what, Call call) {
  sigset_t alarm_only;
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  sigprocmask(SIG_BLOCK, &alarm_only, nullptr);
  raise(SIGALRM);
  errno = 0;
  const int result = call();
  printf("%s: %d errno %d handled %d\n", what, result, errno, static_cast<int>(handled));
}

}  // namespace

void handler_mask_scenario() {
  struct sigaction action = {};
  struct sigaction previous = {};
  action.sa_handler = count_signal;
  sigfillset(&action.sa_mask);
  printf("install %d\n", sigaction(SIGALRM, &action, &previous));
  show_action("all blocked", SIGALRM);
  sigemptyset(&action.sa_mask);
  printf("again %d, was blocked %d\n", sigaction(SIGALRM, &action, &previous), sigismember(&previous.sa_mask, SIGUSR1));
  show_action("none blocked", SIGALRM);
  printf("invalid %d\n", sigaction(99, &action, nullptr));

  const sigset_t mask = all_but(SIGALRM);
  const timespec long_time = {5, 0};
  interrupted_by_pending("sigsuspend", [&] { return sigsuspend(&mask); });
  interrupted_by_pending("ppoll", [&] { return ppoll(nullptr, 0, &long_time, &mask); });
  interrupted_by_pending("pselect", [&] { return pselect(0, nullptr, nullptr, nullptr, &long_time, &mask); });
}

void old_names_scenario() {
  printf("%s\n", name_of(ssignal(SIGUSR2, count_signal)));
  show_action("ssignal", SIGUSR2);
  printf("%s\n", name_of(sysv_signal(SIGUSR2, SIG_IGN)));
  show_action("sysv_signal", SIGUSR2);
  printf("%s\n", name_of(sigset(SIGUSR2, count_signal)));
  show_action("sigset", SIGUSR2);
  printf("%s\n", name_of(sigset(SIGUSR2, SIG_HOLD)));
  printf("%s\n", name_of(sigset(SIGUSR2, SIG_HOLD)));
  printf("%s\n", name_of(sigset(SIGUSR2, SIG_DFL)));
  printf("%s\n", name_of(sigset(99, SIG_DFL)));
  printf("hold %d release %d\n", sighold(SIGUSR2), sigrelse(SIGUSR2));
  printf("hold %d\n", sighold(99));
  printf("ignore %d\n", sigignore(SIGUSR2));
  show_action("sigignore", SIGUSR2);
  sysv_signal(SIGUSR2, count_signal);
  printf("interrupts %d\n", siginterrupt(SIGUSR2, 0));
  show_action("siginterrupt", SIGUSR2);
}
