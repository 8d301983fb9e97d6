/* How a program in any language with a C interface (Rust, Go, Zig, …) watches its memory: no header, no link.
 *
 *   cc dlopened.c -o dlopened && ./dlopened /usr/local/lib/x86_64-linux-gnu/watcher/libwatcher_runtime.so
 *
 * Start it with LD_PRELOAD=…/libwatcher_preload.so, or under watcher-exec, when system calls write to what it watches.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(int count, char** arguments) {
  void* library = dlopen(count > 1 ? arguments[1] : "libwatcher_runtime.so", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  int (*initialize)(const char*, size_t);
  int (*add)(void*, size_t, const char*, uint32_t, uint32_t, char*);
  int (*start)(void);
  int (*stop)(void);
  const char* (*last_error)(void);
  *(void**)&initialize = dlsym(library, "watcher_initialize");
  *(void**)&add = dlsym(library, "watcher_register");
  *(void**)&start = dlsym(library, "watcher_start");
  *(void**)&stop = dlsym(library, "watcher_stop");
  *(void**)&last_error = dlsym(library, "watcher_last_error");

  uint32_t* counters = calloc(16, sizeof *counters);
  char id[17];
  enum { kUInt32 = 6, kDisabled = 6 }; /* WATCHER_UINT32, WATCHER_E_DISABLED */
  const int initialized = initialize("watcher_output", 0);
  if (initialized != kDisabled &&
      (initialized != 0 || add(counters, 16 * sizeof *counters, "counters", kUInt32, 0, id) != 0 || start() != 0))
    fprintf(stderr, "not watched: %s\n", last_error());

  for (uint32_t i = 0; i < 16; i += 5) counters[i] += i + 1;
  if (fread(&counters[1], sizeof *counters, 2, stdin) == 2) counters[1]++; /* written by the kernel, or by libc */

  for (int i = 0; i < 16; ++i) printf("%u%c", counters[i], i < 15 ? ' ' : '\n');
  stop();
  free(counters);
  return 0;
}
