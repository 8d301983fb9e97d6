// What the host does to its mappings: under a watch they change only with the runtime's knowledge.
//
// Any thread; before our constructor and inside dlsym as well, for allocators map their memory by these. Until memory
// that is not the runtime's own is watched, each is one load, one branch and the call.
#include <stdarg.h>
#include <sys/syscall.h>

#include "preload/lifted_watches.h"
#include "preload/real_functions.h"

namespace watcher {
namespace {

constexpr size_t kPageMask = 4095;

size_t whole_pages(size_t bytes) {
  return (bytes + kPageMask) & ~kPageMask;
}

/// While dlsym runs there is no next function to be had; the kernel is.
template <class Result, class Function, class... Arguments>
Result forward(RealFunction<Function>& next, long call_number, Arguments... arguments) {
  if (__builtin_expect(next.address() == nullptr, 0)) return (Result)syscall(call_number, arguments...);
  return (Result)next(arguments...);
}

/// A mapping over others that may be watched.
template <class Call>
__attribute__((noinline, cold)) void* map_over(decltype(hooks.lift_watches) lift, void* start, size_t bytes,
                                               Call call) {
  const LiftedWatches watches(lift, start, whole_pages(bytes));
  void* result = call();
  result == MAP_FAILED ? watches.settle(start, whole_pages(bytes)) : watches.end();
  return result;
}

template <class Call>
inline void* map(void* start, size_t bytes, int flags, Call call) {
  auto* lift = attached(hooks.lift_watches);
  return lift == nullptr || (flags & MAP_FIXED) == 0 ? call() : map_over(lift, start, bytes, call);
}

__attribute__((noinline, cold)) void* remap(decltype(hooks.lift_watches) lift, void* old, size_t old_bytes,
                                            size_t new_bytes, int flags, void* target) {
  const bool over = (flags & MREMAP_FIXED) != 0;
  const LiftedWatches watches(lift, old, whole_pages(old_bytes));
  const LiftedWatches replaced(lift, over ? target : nullptr, over ? whole_pages(new_bytes) : 0);
  void* result = forward<void*>(real::mremap, SYS_mremap, old, old_bytes, new_bytes, flags, target);
  if (result == MAP_FAILED) {
    watches.settle(old, whole_pages(old_bytes));
    replaced.settle(target, whole_pages(new_bytes));
  } else {
    watches.settle(result, whole_pages(new_bytes));
    replaced.end();
  }
  return result;
}

__attribute__((noinline, cold)) int unmap(decltype(hooks.lift_watches) lift, void* start, size_t bytes) {
  const LiftedWatches watches(lift, start, whole_pages(bytes));
  const int result = forward<int>(real::munmap, SYS_munmap, start, bytes);
  result == 0 ? watches.end() : watches.settle(start, whole_pages(bytes));
  return result;
}

}  // namespace

WATCHER_INTERPOSER void* mmap(void* start, size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
  return map(start, bytes, flags,
             [=] { return forward<void*>(real::mmap, SYS_mmap, start, bytes, protection, flags, fd, offset); });
}

WATCHER_INTERPOSER void* mmap64(void* start, size_t bytes, int protection, int flags, int fd, off64_t offset) noexcept {
  return map(start, bytes, flags,
             [=] { return forward<void*>(real::mmap64, SYS_mmap, start, bytes, protection, flags, fd, offset); });
}

WATCHER_INTERPOSER int munmap(void* start, size_t bytes) noexcept {
  auto* lift = attached(hooks.lift_watches);
  return lift == nullptr ? forward<int>(real::munmap, SYS_munmap, start, bytes) : unmap(lift, start, bytes);
}

WATCHER_INTERPOSER void* mremap(void* old, size_t old_bytes, size_t new_bytes, int flags, ...) noexcept {
  va_list arguments;
  va_start(arguments, flags);
  void* target = va_arg(arguments, void*);  // only looked at by flags that come with one
  va_end(arguments);
  auto* lift = attached(hooks.lift_watches);
  return lift == nullptr || old_bytes == 0
             ? forward<void*>(real::mremap, SYS_mremap, old, old_bytes, new_bytes, flags, target)
             : remap(lift, old, old_bytes, new_bytes, flags, target);
}

WATCHER_INTERPOSER int madvise(void* start, size_t bytes, int advice) noexcept {
  int result = 0;
  auto* advise = attached(hooks.advise_memory);
  if (advise != nullptr && advise(start, bytes, advice, &result) != 0) return result;
  return forward<int>(real::madvise, SYS_madvise, start, bytes, advice);
}

WATCHER_INTERPOSER int mprotect(void* start, size_t bytes, int protection) noexcept {
  int result = 0;
  auto* protect = attached(hooks.protect_memory);
  if (protect != nullptr && protect(start, bytes, protection, -1, &result) != 0) return result;
  return forward<int>(real::mprotect, SYS_mprotect, start, bytes, protection);
}

WATCHER_INTERPOSER int pkey_mprotect(void* start, size_t bytes, int protection, int key) noexcept {
  int result = 0;
  auto* protect = attached(hooks.protect_memory);
  if (protect != nullptr && protect(start, bytes, protection, key, &result) != 0) return result;
  return forward<int>(real::pkey_mprotect, SYS_pkey_mprotect, start, bytes, protection, key);
}

}  // namespace watcher
