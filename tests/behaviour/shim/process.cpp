// The scenarios of memory_calls, signal_calls and process_calls, and of calls that do not come back as usual.
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "tests/behaviour/shim/host.h"

namespace {

volatile sig_atomic_t handled = 0;

void count_signal(int) {
  handled = handled + 1;
}
void other_handler(int) {}

const char* name_of(sighandler_t handler) {
  if (handler == SIG_ERR) return "error";
  if (handler == SIG_DFL) return "default";
  if (handler == SIG_IGN) return "ignored";
  return handler == count_signal ? "count_signal" : "other_handler";
}

void* read_for_ever(void* ends) {
  const ssize_t got = read(static_cast<int*>(ends)[0], shim_watched, 100);
  return reinterpret_cast<void*>(got);
}

sigset_t set_of(int signal_number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal_number);
  return set;
}

void show_mask(const char* what) {
  sigset_t set;
  pthread_sigmask(SIG_BLOCK, nullptr, &set);
  printf("%s:", what);
  for (int i = 1; i < 65; ++i)
    if (sigismember(&set, i) == 1) printf(" %d", i);
  printf("\n");
}

int exit_status(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

}  // namespace

void interruption_scenario() {
  int ends[2];
  if (pipe(ends) != 0) abort();
  struct sigaction action = {};
  action.sa_handler = count_signal;
  sigaction(SIGALRM, &action, nullptr);
  const itimerval soon = {{0, 0}, {0, 20000}};
  setitimer(ITIMER_REAL, &soon, nullptr);
  show("read interrupted", read(ends[0], shim_watched, 100));
  printf("handled %d\n", static_cast<int>(handled));

  pthread_t thread;
  pthread_create(&thread, nullptr, read_for_ever, ends);
  usleep(20000);
  pthread_cancel(thread);
  void* result = nullptr;
  pthread_join(thread, &result);
  printf("cancelled %d\n", result == PTHREAD_CANCELED);
}

void memory_scenario() {
  errno = 77;
  free(malloc(100));
  free(nullptr);
  void* grown = realloc(malloc(10), 1000);
  printf("errno %d, usable %d\n", errno, malloc_usable_size(grown) >= 1000);
  grown = reallocarray(grown, 100, 100);
  printf("reallocarray usable %d\n", malloc_usable_size(grown) >= 10000);
  free(realloc(nullptr, 10));
  free(grown);
}

void mask_scenario() {
  show_mask("at start");
  sigset_t previous;
  sigset_t set = set_of(SIGUSR1);
  sigaddset(&set, SIGUSR2);
  printf("block %d\n", sigprocmask(SIG_BLOCK, &set, nullptr));
  show_mask("both blocked");
  set = set_of(SIGUSR1);
  printf("unblock %d\n", pthread_sigmask(SIG_UNBLOCK, &set, &previous));
  printf("was blocked %d\n", sigismember(&previous, SIGUSR1));
  show_mask("one unblocked");
  sigfillset(&set);
  printf("set all %d\n", pthread_sigmask(SIG_SETMASK, &set, &previous));
  show_mask("all");
  printf("restore %d\n", pthread_sigmask(SIG_SETMASK, &previous, nullptr));
  show_mask("restored");
  printf("invalid %d\n", pthread_sigmask(99, &set, nullptr));
  show_mask("still");
}

void handler_scenario() {
  printf("%s\n", name_of(signal(SIGUSR2, count_signal)));
  printf("%s\n", name_of(signal(SIGUSR2, other_handler)));
  struct sigaction action = {};
  printf("%d", sigaction(SIGUSR2, nullptr, &action));
  printf(" %s flags %x self masked %d\n", name_of(action.sa_handler), action.sa_flags & ~0x04000000,
         sigismember(&action.sa_mask, SIGUSR2));
  printf("%s\n", name_of(signal(SIGUSR2, SIG_IGN)));
  printf("%s\n", name_of(signal(SIGUSR2, SIG_DFL)));
  printf("%s\n", name_of(signal(SIGTERM, SIG_IGN)));
  printf("%s\n", name_of(signal(SIGTERM, SIG_DFL)));
  errno = 0;
  printf("%s", name_of(signal(4711, SIG_IGN)));
  printf(" errno %d\n", errno);
  if (const pid_t child = vfork(); child == 0) {
    signal(SIGUSR2, SIG_IGN);
    _exit(9);
  } else {
    printf("child %d\n", exit_status(child));
  }
  printf("untouched: %s\n", name_of(signal(SIGUSR2, SIG_DFL)));
}

void process_scenario() {
  fflush(stdout);
  if (const pid_t child = vfork(); child == 0)
    _exit(7);
  else
    printf("vfork %d\n", exit_status(child));
  fflush(stdout);
  if (const pid_t child = fork(); child == 0)
    _Exit(8);
  else
    printf("fork %d\n", exit_status(child));
}

void let_through_scenario() {
  struct sigaction action = {};
  action.sa_handler = count_signal;
  sigaction(SIGUSR1, &action, nullptr);
  sigset_t set;
  sigfillset(&set);
  pthread_sigmask(SIG_SETMASK, &set, nullptr);
  raise(SIGUSR1);
  printf("handled %d\n", static_cast<int>(handled));

  // memory that the fake runtime claims; the compiler must not know that nobody allocated it
  unsigned char* volatile claimed = shim_watched + 64;
  printf("usable %zu\n", malloc_usable_size(claimed));
  errno = 77;
  free(claimed);
  printf("errno %d\n", errno);
  auto* moved = static_cast<unsigned char*>(realloc(claimed, 10));
  printf("moved %d\n", moved != nullptr && moved != claimed && moved[9] == 0xA5);
  auto* again = static_cast<unsigned char*>(reallocarray(claimed, 2, 5));
  printf("moved again %d\n", again != nullptr && again != claimed && again[9] == 0xA5);
}
