// Runs a scenario in a forked child, where signals, death and engines can do no harm to the test runner.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace watcher::test {

/// In a child: ends it when the condition does not hold; the parent sees status 99.
#define EXPECT(condition)                                                                    \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition);               \
      _exit(99);                                                                             \
    }                                                                                        \
  } while (false)

/// The child's wait status.
template <class Scenario>
int status_of_child(Scenario scenario) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    scenario();
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

}  // namespace watcher::test
