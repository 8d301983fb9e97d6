#include "runtime/capture/threads/thread_memory.h"

#include <asm/prctl.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/regions/region_map.h"

namespace watcher {
namespace {

// glibc's struct pthread (2.36) lies at the thread pointer, static thread-local storage right below it.
constexpr std::uintptr_t kControlBlockBytes = 2304;

constinit std::uintptr_t storage_below = 4096;
constinit bool main_has_thread_stack = false;  // a child of a thread that forked
constinit bool forking_has_thread_stack = false;

bool overlap(std::uintptr_t begin, std::uintptr_t end, std::uintptr_t other_begin, std::uintptr_t other_end) {
  return page_of(begin) < other_end && other_begin < page_of(end + kPageMask);
}

std::uintptr_t own_thread_pointer() {
  std::uintptr_t thread = 0;
  raw_syscall(SYS_arch_prctl, ARCH_GET_FS, &thread);
  return thread;
}

/// The head of a thread's list of robust mutexes: glibc keeps it in the thread control block, and the kernel tells it
/// of every thread. 0 when it does not.
std::uintptr_t robust_list_of(long thread_id) {
  std::uintptr_t head = 0;
  std::size_t bytes = 0;
  return raw_syscall(SYS_get_robust_list, thread_id, &head, &bytes) == 0 ? head : 0;
}

bool touches_block(std::uintptr_t begin, std::uintptr_t end, std::uintptr_t thread) {
  return overlap(begin, end, thread - storage_below, thread + kControlBlockBytes);
}

/// A thread's stack reaches up to its control block, in the same mapping. What else that mapping holds lies above, but
/// for a stack that the host has cut out of larger memory: then all below is refused as well. The main thread's stack
/// is another mapping, unless this process was forked by another thread, whose stack it now runs on.
bool touches_thread(std::uintptr_t begin, std::uintptr_t end, const Mapping& mapping, std::uintptr_t thread,
                    bool main) {
  if (touches_block(begin, end, thread)) return true;
  if (main && !main_has_thread_stack) return false;
  return thread >= mapping.begin && thread < mapping.end && overlap(begin, end, mapping.begin, thread);
}

bool is_main_thread() {
  return raw_syscall(SYS_gettid) == raw_syscall(SYS_getpid);
}

long parse_decimal(const char* text) {
  long value = 0;
  for (; *text >= '0' && *text <= '9'; ++text) value = value * 10 + (*text - '0');
  return value;
}

template <class Visit>
bool any_thread(Visit visit) {
  const long directory = raw_syscall(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (directory < 0) return false;
  alignas(dirent64) char entries[4096];
  bool found = false;
  for (long got = 0; !found && (got = raw_syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0;)
    for (long at = 0; !found && at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
      at += entry->d_reclen;
      const long thread_id = parse_decimal(entry->d_name);
      found = thread_id != 0 && visit(thread_id);
    }
  raw_syscall(SYS_close, directory);
  return found;
}

}  // namespace

// The size of a thread's static storage and control block as the loader has fixed it; libraries that are loaded later
// take theirs out of it. Exactly that, for the pages around the main thread's may be the host's.
void measure_thread_block() {
  const auto ask =
      reinterpret_cast<void (*)(std::size_t*, std::size_t*)>(dlsym(RTLD_DEFAULT, "_dl_get_tls_static_info"));
  if (ask == nullptr) return;
  std::size_t bytes = 0;
  std::size_t alignment = 0;
  ask(&bytes, &alignment);
  if (bytes > kControlBlockBytes + alignment) storage_below = bytes - kControlBlockBytes - alignment;
}

void note_forking_thread() {
  forking_has_thread_stack = main_has_thread_stack || !is_main_thread();
}

void note_forked_child() {
  main_has_thread_stack = forking_has_thread_stack;
}

bool touches_own_thread(std::uintptr_t begin, std::uintptr_t end) {
  if (touches_block(begin, end, own_thread_pointer())) return true;
  // The main thread's stack shows by its name in the list of mappings; asking libc for it would read that whole list.
  if (is_main_thread()) return false;
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return false;
  void* low = nullptr;
  std::size_t bytes = 0;
  pthread_attr_getstack(&attributes, &low, &bytes);
  pthread_attr_destroy(&attributes);
  const auto stack = reinterpret_cast<std::uintptr_t>(low);
  return overlap(begin, end, stack, stack + bytes);
}

bool touches_any_thread(std::uintptr_t begin, std::uintptr_t end, const Mapping& mapping) {
  const std::uintptr_t offset = robust_list_of(0) - own_thread_pointer();  // the same for all
  if (offset >= kControlBlockBytes) return false;                          // none, or not glibc's
  const long process = raw_syscall(SYS_getpid);
  return any_thread([&](long thread_id) {
    const std::uintptr_t head = robust_list_of(thread_id);
    return head != 0 && touches_thread(begin, end, mapping, head - offset, thread_id == process);
  });
}

}  // namespace watcher
