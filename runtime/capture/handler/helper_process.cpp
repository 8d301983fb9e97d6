#include "runtime/capture/handler/helper_process.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/signals/signal_mask.h"
#include "runtime/capture/store/store_context.h"

namespace watcher {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;
constexpr std::size_t kControlBlockBytes = 4096;  // from the thread pointer on: libc's and the compiler's fixed places
constexpr std::size_t kSlack = 1024;
constexpr int kHelpers = static_cast<int>(Helper::kCount);

struct Place {
  std::byte* stack_end;
  std::byte* thread_pointer;
};
constinit Place places[kHelpers] = {};
constinit std::byte* first_stack_end = nullptr;  // of the process in between
constinit Helper detached = Helper::kGuard;
constinit HelperMain detached_main = nullptr;
constinit long detached_result = 0;
constexpr rlim_t kPlenty = 512;  // two files and two events of each of 64 threads, and what else is open
constinit bool few_descriptors = false;

std::uintptr_t own_thread_pointer() {
  std::uintptr_t pointer = 0;
  raw_syscall(SYS_arch_prctl, ARCH_GET_FS, &pointer);
  return pointer;
}

/// Thread-local data lies below the thread pointer: as much of it as we and errno use.
std::size_t thread_data_bytes(std::uintptr_t pointer) {
  const auto below = [&](const void* variable) {
    const auto address = reinterpret_cast<std::uintptr_t>(variable);
    return address < pointer ? pointer - address : 0;
  };
  const std::size_t ours = below(&thread_state);
  const std::size_t libcs = below(&errno);
  return ((ours > libcs ? ours : libcs) + kSlack + kPageMask) & ~kPageMask;
}

/// What compiled code expects at fixed places: the pointer to itself, and the stack protector's word.
void lay_out_control_block(std::byte* block) {
  constexpr std::size_t kSelf = 0, kSelfAgain = 0x10, kCanary = 0x28;
  std::uint64_t canary = 0;
  __asm__("mov %%fs:0x28, %0" : "=r"(canary));
  __builtin_memcpy(block + kSelf, &block, sizeof block);
  __builtin_memcpy(block + kSelfAgain, &block, sizeof block);
  __builtin_memcpy(block + kCanary, &canary, sizeof canary);
}

__attribute__((noinline)) long clone_task(unsigned long flags, std::byte* stack_end, std::byte* thread_pointer,
                                          HelperMain entry) {
  long result;
  register long r10 __asm__("r10") = 0;
  register auto r8 __asm__("r8") = thread_pointer;
  register auto r9 __asm__("r9") = entry;
  __asm__ volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "call *%%r9\n\t"
      "ud2\n"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone), "D"(flags), "S"(stack_end), "d"(0), "r"(r10), "r"(r8), "r"(r9)
      : "rcx", "r11", "memory");
  return result;
}

/// Ends at once, so that the helper is handed to whoever takes orphans. It borrows our thread pointer: we sleep.
[[noreturn]] void process_in_between() {
  detached_result = start_child_helper(detached, detached_main);
  for (;;) raw_syscall(SYS_exit, 0);
}

bool takes_orphans() {
  int reaper = 0;
  raw_syscall(SYS_prctl, PR_GET_CHILD_SUBREAPER, &reaper);
  return reaper != 0 || raw_syscall(SYS_getpid) == 1;
}

/// Children of a host that has unshared its process ids would begin a name space, and end it with themselves.
bool children_live_elsewhere() {
  struct stat ours {
  }, theirs{};
  return raw_syscall(SYS_stat, "/proc/self/ns/pid", &ours) == 0 &&
         raw_syscall(SYS_stat, "/proc/self/ns/pid_for_children", &theirs) == 0 && ours.st_ino != theirs.st_ino;
}

}  // namespace

bool descriptors_are_scarce() {
  return few_descriptors;
}

bool helper_processes_reserve() {
  if (first_stack_end != nullptr) return true;
  const std::size_t data = thread_data_bytes(own_thread_pointer());
  const std::size_t each = kPageBytes + kStackBytes + data + kControlBlockBytes;
  const std::size_t bytes = kHelpers * each + 2 * kPageBytes;
  void* area = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) return false;
  auto* at = static_cast<std::byte*>(area);
  for (Place& place : places) {
    mprotect(at, kPageBytes, PROT_NONE);
    place = {at + kPageBytes + kStackBytes, at + kPageBytes + kStackBytes + data};
    at += each;
  }
  first_stack_end = at + 2 * kPageBytes;
  return true;
}

long start_child_helper(Helper which, HelperMain entry) {
  const Place& place = places[static_cast<int>(which)];
  lay_out_control_block(place.thread_pointer);
  return clone_task(CLONE_VM | CLONE_SETTLS, place.stack_end, place.thread_pointer, entry);
}

long start_detached_helper(Helper which, HelperMain entry) {
  if (children_live_elsewhere()) return -EINVAL;
  if (takes_orphans()) return start_child_helper(which, entry);
  detached = which;
  detached_main = entry;
  const long between = clone_task(CLONE_VM | CLONE_VFORK, first_stack_end, nullptr, process_in_between);
  if (between < 0) return between;
  raw_syscall(SYS_wait4, between, nullptr, __WALL, nullptr);
  return detached_result;
}

void settle_in_helper(const char* name) {
  thread_state = {};
  thread_state.is_helper = true;
  raw_syscall(SYS_close_range, 0, ~0u, 0);
  // No session of its own: the scheduler would give that as much as the host (autogroup), whatever our policy.
  raw_syscall(SYS_setpgid, 0, 0);
  raw_syscall(SYS_chdir, "/");
  raw_syscall(SYS_prctl, PR_SET_NAME, name, 0, 0, 0);
  const rlimit no_core = {0, 0};
  raw_syscall(SYS_prlimit64, 0, RLIMIT_CORE, &no_core, nullptr);
  // A few descriptors are needed whatever the host may have.
  rlimit limit = {65536, 65536};
  if (raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, nullptr) != 0) {
    raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit);
    limit.rlim_cur = limit.rlim_max;
    raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, nullptr);
  }
  few_descriptors = limit.rlim_cur < kPlenty;
  // A guarded access may fault here as anywhere.
  set_signal_mask(~(signal_bit(SIGSEGV) | signal_bit(SIGBUS)));
}

}  // namespace watcher
