/* Many variables of one name. */
#include <stdio.h>
#include <watcher/watcher.h>
static char bytes[20000];
int main(void) {
  char id[WATCHER_ID_BYTES], ids[3][WATCHER_ID_BYTES];
  watcher_initialize(NULL, 0);
  for (int i = 0; i < 3; ++i) watcher_register(&bytes[i], 1, "byte", 0, 0, ids[i]);
  watcher_unregister(ids[1]);
  watcher_register(&bytes[1], 1, "byte", 0, 0, ids[1]);
  for (int i = 0; i < 3; ++i) puts(ids[i]);
  for (int i = 0; i < 3; ++i) watcher_unregister(ids[i]);
  for (int i = 0; i < 20000; ++i) /* no more work for one than for the first */
    if (watcher_register(&bytes[i], 1, "byte", 0, 0, id) != 0)
      return 1;
    else if (i < 3)
      puts(id);
  return 0;
}
