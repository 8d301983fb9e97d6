/* Another preloaded object, with an interposer of its own that forwards to whoever comes next. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

void free(void *pointer) {
  static void (*next)(void *);
  if (next == NULL) next = (void (*)(void *))dlsym(RTLD_NEXT, "free");
  next(pointer);
}
