#include "preload/redirection.h"

#include <linux/futex.h>
#include <sys/syscall.h>

namespace watcher {
namespace {

constexpr uintptr_t kPageBytes = 4096;

bool word_readable(uintptr_t address) {
  // Moves no waiter to a word of ours if the word is 0, and says EAGAIN if not; EFAULT is all that counts.
  uint32_t nobody = 0;
  return syscall(SYS_futex, address & ~uintptr_t{3}, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0, &nobody, 0) >= 0 ||
         errno != EFAULT;
}

}  // namespace

bool readable(const void* memory, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  if (memory == nullptr || begin + bytes < begin) return false;
  ErrnoKeeper keeper;
  for (uintptr_t page = begin; page < begin + bytes; page = (page & ~(kPageBytes - 1)) + kPageBytes)
    if (!word_readable(page)) return false;
  return true;
}

}  // namespace watcher
