/* No libc at all, 64 and 32 bits. */
static void call(long number, long first, long second, long third) {
#ifdef __x86_64__
  __asm__ volatile("syscall" : : "a"(number), "D"(first), "S"(second), "d"(third) : "rcx", "r11", "memory");
#else
  __asm__ volatile("int $0x80" : : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
#endif
}

#ifdef __x86_64__
enum { kWrite = 1, kExit = 60 };
#else
enum { kWrite = 4, kExit = 1 };
#endif

void _start(void) {
  call(kWrite, 1, (long)"no libc\n", 8);
  call(kExit, 3, 0, 0);
}
