// A system call without libc: no errno, no cancellation point, no interposer. Any context, signal handlers included.
#pragma once

#include <cstdint>

namespace watcher {

template <class T>
long syscall_argument(T value) {
  if constexpr (__is_same(T, decltype(nullptr)))
    return 0;
  else
    return (long)value;
}

/// Returns the kernel's result: -errno on failure.
template <class... Args>
inline long raw_syscall(long number, Args... args) {
  static_assert(sizeof...(Args) <= 6);
  long packed[6] = {syscall_argument(args)...};
  long result;
  register long r10 __asm__("r10") = packed[3];
  register long r8 __asm__("r8") = packed[4];
  register long r9 __asm__("r9") = packed[5];
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(packed[0]), "S"(packed[1]), "d"(packed[2]), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

}  // namespace watcher
