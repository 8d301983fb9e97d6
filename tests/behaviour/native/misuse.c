/* Every call that can go wrong, in every state; one line each. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <watcher/watcher.h>
static long value[2];
static __thread long own;
static char *stack_of_other, *block_of_other;
static int ends[2];
static char id[WATCHER_ID_BYTES];
static void tell(const char* what, int code) {
  printf("%s: %d %s\n", what, code, code != 0 ? watcher_last_error() : "");
}
static int add(void* base, size_t size) {
  const int code = watcher_register(base, size, "value", WATCHER_INT64, 0, id);
  const char* at = strstr(watcher_last_error(), " at 0x");
  if (code != 0 && at != NULL) {
    printf("... %s\n", strstr(at, ": ") + 2);
    return code;
  }
  if (code != 0) printf("%s\n", watcher_last_error());
  return code;
}
static void* wait_there(void* unused) {
  char here[100];
  (void)unused;
  block_of_other = (char*)&own;
  __atomic_store_n(&stack_of_other, &here[0], __ATOMIC_RELEASE);
  return read(ends[0], here, 1) == 1 ? NULL : &own;
}
static void everything(const char* state) {
  struct watcher_stats stats;
  printf("== %s %d\n", state, (int)watcher_get_state());
  if (watcher_get_state() != WATCHER_STATE_NEW) tell("initialize", watcher_initialize(NULL, 0));
  if (watcher_get_state() == WATCHER_STATE_NEW || watcher_get_state() > WATCHER_STATE_PAUSED) {
    tell("register", watcher_register(value, 8, "value", 0, 0, id));
    tell("unregister", watcher_unregister("0123456789abcdef"));
    tell("read", watcher_read_snapshot("0123456789abcdef", value, 8, NULL));
    tell("write", watcher_write_snapshot("0123456789abcdef", value, 8));
    tell("start", watcher_start());
    tell("stop", watcher_stop());
    printf("allocate: %p %s\n", watcher_allocate(10), watcher_last_error());
    watcher_free(value);
  }
  if (watcher_get_state() != WATCHER_STATE_RUNNING) tell("pause", watcher_pause());
  if (watcher_get_state() != WATCHER_STATE_PAUSED) tell("resume", watcher_resume());
  if (watcher_get_state() == WATCHER_STATE_NEW || watcher_get_state() == WATCHER_STATE_FAILED)
    tell("stats", watcher_get_stats(&stats, sizeof stats));
}
int main(int count, char** arguments) {
  char local[8], first[WATCHER_ID_BYTES], second[WATCHER_ID_BYTES];
  pthread_t other;
  struct watcher_stats stats;
  size_t size = 0;
  printf("%s", watcher_last_error());
  if (count > 1) {
    tell("initialize", watcher_initialize(arguments[1], (size_t)atol(arguments[2])));
    everything("failed");
    return 7;
  }
  everything("new");
  if (watcher_initialize(NULL, 0) != 0) return 1;
  everything("initialized");
  printf("== arguments\n");
  add(NULL, 8);
  add(value, 0);
  add(value, 9);
  add(local, 8);
  add(&own, 8);
  add((void*)"constant", 8);
  add((void*)4096, 8);
  add((void*)-4096, 16384);
  tell("name", watcher_register(value, 8, NULL, 0, 0, id));
  tell("name", watcher_register(value, 8, "", 0, 0, id));
  tell("flags", watcher_register(value, 8, "value", 99, 0, id));
  tell("flags", watcher_register(value, 8, "value", 0x1000, 0, id));
  tell("id", watcher_register(value, 8, "value", 0, 0, NULL));
  char* hole = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(hole + 4096, 4096);
  add(hole, 12288);
  if (pipe(ends) != 0 || pthread_create(&other, NULL, wait_there, NULL) != 0) return 2;
  while (__atomic_load_n(&stack_of_other, __ATOMIC_ACQUIRE) == NULL) usleep(100);
  add(stack_of_other, 8);
  add(stack_of_other - 65536, 8);
  add(block_of_other, 8);
  if (write(ends[1], "x", 1) != 1 || pthread_join(other, NULL) != 0) return 3;
  tell("register", watcher_register(value, 8, "value", WATCHER_INT64, 0, first));
  tell("register", watcher_register(value, 16, "value", WATCHER_INT64, 0, second));
  printf("%d %zu\n", strcmp(first, second) != 0, strlen(second));
  tell("unregister", watcher_unregister(NULL));
  tell("unregister", watcher_unregister("value"));
  tell("unregister", watcher_unregister(second));
  tell("unregister", watcher_unregister(second) == WATCHER_E_UNKNOWN ? 0 : 1);
  tell("read", watcher_read_snapshot(first, value, 9, &size));
  tell("write", watcher_write_snapshot(first, value, 4));
  tell("write", watcher_write_snapshot(first, NULL, 8));
  tell("stats", watcher_get_stats(NULL, 0));
  printf("%zu\n", size);
  if (watcher_start() != 0) return 4;
  everything("running");
  if (watcher_pause() != 0) return 5;
  everything("paused");
  if (watcher_resume() != 0 || watcher_get_stats(&stats, sizeof stats) != 0) return 6;
  printf("%d %d\n", (int)stats.regions, (int)stats.emitted);
  tell("stop", watcher_stop());
  everything("stopped");
  tell("stats", watcher_get_stats(&stats, sizeof stats));
  return 7;
}
