// Runs a scenario in a forked child, where signals, death and engines can do no harm to the test runner.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>

namespace watcher::test {

/// In a child: ends it when the condition does not hold; the parent sees status 99.
#define EXPECT(condition)                                                      \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
      _exit(99);                                                               \
    }                                                                          \
  } while (false)

/// The child's wait status.
template <class Scenario>
int status_of_child(Scenario scenario) {
  fflush(nullptr);  // or the child prints it again
  const pid_t child = fork();
  if (child == 0) {
    // doctest's own crash handlers, and its signal stack, are none of the scenario's.
    for (const int signal_number : {SIGSEGV, SIGBUS, SIGTRAP, SIGABRT, SIGILL, SIGFPE, SIGTERM})
      signal(signal_number, SIG_DFL);
    const stack_t none = {nullptr, SS_DISABLE, 0};
    sigaltstack(&none, nullptr);
    alarm(60);
    scenario();
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

}  // namespace watcher::test
