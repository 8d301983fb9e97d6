/* System calls, a pause, forks and faults of its own beside watched memory. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <watcher/watcher.h>
static volatile sig_atomic_t faults;
static void on_fault(int number) {
  (void)number;
  ++faults;
  signal(SIGSEGV, SIG_DFL);
}
static int ends[2];
static long* words;
static void* fill(void* unused) {
  (void)unused;
  return read(ends[0], &words[4], 16) == 16 ? words : NULL;
}
int main(void) {
  char id[WATCHER_ID_BYTES];
  struct watcher_stats stats;
  void* done = NULL;
  pthread_t reader;
  watcher_initialize(NULL, 0);
  words = memset(aligned_alloc(4096, 4096), 0, 4096);
  watcher_register(words, 4096, "words", WATCHER_INT64, 0, id);
  watcher_start();
  signal(SIGSEGV, on_fault);
  words[0] = 1;
  if (pipe(ends) != 0 || write(ends[1], "0123456789abcdef", 16) != 16) return 1;
  if (read(ends[0], &words[1], 16) != 16) return 2;
  watcher_pause();
  pthread_create(&reader, NULL, fill, NULL); /* waits in the kernel across the resume */
  usleep(50000);
  watcher_resume();
  if (write(ends[1], "fedcba9876543210", 16) != 16 || pthread_join(reader, &done) != 0 || done == NULL) return 3;
  const pid_t child = fork();
  if (child == 0) {
    words[10] = 2;
    watcher_pause();
    words[11] = 3;
    watcher_resume();
    watcher_stop();
    if (fork() == 0) _exit(0); /* after the end: nothing of it is recorded */
    wait(NULL);
    _exit(words[0] == 1 && words[10] == 2 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  words[0] += words[10] + 5;
  printf("%ld %ld %d %d\n", words[0], words[4], status, (int)faults);
  fflush(stdout);
  if (watcher_get_stats(&stats, sizeof stats) == 0)
    if ((long)stats.emitted != 4 || stats.regions != 1 || stats.kernel_redirects < 2) return 4;
  *(volatile long*)strtoul("8", NULL, 10) = 1; /* a fault of the program's own: its handler, then its own death */
}
