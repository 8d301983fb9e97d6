/* Who changes the balance? A static variable, watched in its place.
 *
 *   cc account.c $(pkg-config --cflags --libs watcher) -o account && ./account && cat watcher_output/events.jsonl */
#include <stdio.h>
#include <watcher/watcher.h>

/* volatile: so that the optimizer makes a store of every change, instead of one of the sum */
static volatile int64_t balance = 100;

static void deposit(int64_t amount) {
  balance += amount;
}

static void charge(int64_t amount) {
  balance -= amount;
}

int main(void) {
  char id[WATCHER_ID_BYTES];
  if (watcher_initialize("watcher_output", 0) == WATCHER_E_DISABLED)
    ; /* WATCHER_DISABLE=1: the program runs as it is */
  else if (watcher_register((void*)&balance, sizeof balance, "balance", WATCHER_INT64 | WATCHER_GLOBAL,
                            WATCHER_FULL_DEPTH, id) != WATCHER_OK ||
           watcher_start() != WATCHER_OK)
    fprintf(stderr, "not watched: %s\n", watcher_last_error());

  for (int day = 1; day <= 3; ++day) deposit(10 * day);
  charge(25);

  watcher_pause(); /* what is stored from here on costs nothing, and is told as one change */
  for (int i = 0; i < 1000; ++i) charge(1);
  watcher_resume();

  deposit(1000);
  printf("balance: %lld\n", (long long)balance);
  watcher_stop();
  return 0;
}
