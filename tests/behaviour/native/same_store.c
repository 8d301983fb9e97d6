/* A hundred stores by one instruction. With an argument it is killed then. */
#include <signal.h>
#include <watcher/watcher.h>

static volatile int64_t total;

int main(int count, char** arguments) {
  (void)arguments;
  char id[WATCHER_ID_BYTES];
  watcher_initialize("watcher_output", 0);
  watcher_register((void*)&total, sizeof total, "total", WATCHER_INT64 | WATCHER_GLOBAL, WATCHER_FULL_DEPTH, id);
  watcher_start();
  for (int i = 0; i < 100; ++i) {
    total = i;
    __asm__ volatile("" ::: "memory");
  }
  if (count > 1) raise(SIGKILL);
  watcher_stop();
  return 0;
}
