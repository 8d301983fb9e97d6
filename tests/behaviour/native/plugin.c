/* A library whose function is called as NAME says. */
#include <stdint.h>

__attribute__((noinline)) static void NAME(volatile int64_t* total) {
  *total += 1;
}

__attribute__((visibility("default"))) void entry(volatile int64_t* total);
void entry(volatile int64_t* total) {
  NAME(total);
  __asm__ volatile("");
}
