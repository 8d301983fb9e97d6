// What the host does to the end of its heap and to its System V segments: under a watch they change only with the
// runtime's knowledge. Allocators of libc's move the heap's end by calls of its own; what they free was lifted at free.
//
// Any thread; brk and sbrk before our constructor and inside dlsym as well.
#include <stdint.h>
#include <sys/shm.h>

#include "preload/lifted_watches.h"
#include "preload/real_functions.h"

namespace watcher {
namespace {

constexpr uintptr_t kPageMask = 4095;

uintptr_t page_above(uintptr_t address) {
  return (address + kPageMask) & ~kPageMask;
}

/// `call` moves the heap's end to `end`: what lies between there and the present end goes. A refusal may look like a
/// success, so where the end is afterwards decides.
template <class Result, class Call>
__attribute__((noinline, cold)) Result lower(decltype(hooks.lift_watches) lift, uintptr_t present, uintptr_t end,
                                             Call call) {
  void* start = (void*)page_above(end);
  const size_t bytes = page_above(present) - (uintptr_t)start;
  const LiftedWatches watches(lift, start, bytes);
  Result result = call();
  (uintptr_t) real::sbrk(0) < present ? watches.end() : watches.settle(start, bytes);
  return result;
}

__attribute__((noinline, cold)) void* attach_over(decltype(hooks.lift_watches) lift, int segment, const void* address,
                                                  int flags) {
  shmid_ds description = {};
  const int saved_errno = errno;
  const bool known = real::shmctl(segment, IPC_STAT, &description) == 0;
  errno = saved_errno;
  void* start = (void*)((uintptr_t)address & ~kPageMask);
  const size_t bytes = known ? page_above(description.shm_segsz) : 0;
  const LiftedWatches watches(lift, start, bytes);
  void* result = real::shmat(segment, address, flags);
  result == (void*)-1 ? watches.settle(start, bytes) : watches.end();
  return result;
}

__attribute__((noinline, cold)) int detach(decltype(hooks.lift_watches) lift, const void* address) {
  auto* measure = attached(hooks.segment_bytes);
  void* start = const_cast<void*>(address);
  const size_t bytes = measure == nullptr ? 0 : page_above(measure(start));
  const LiftedWatches watches(lift, start, bytes);
  const int result = real::shmdt(address);
  result == 0 ? watches.end() : watches.settle(start, bytes);
  return result;
}

}  // namespace

WATCHER_INTERPOSER int brk(void* end) noexcept {
  auto* lift = attached(hooks.lift_watches);
  const auto present = lift == nullptr ? 0 : (uintptr_t)real::sbrk(0);
  if ((uintptr_t)end >= present) return real::brk(end);
  return lower<int>(lift, present, (uintptr_t)end, [=] { return real::brk(end); });
}

WATCHER_INTERPOSER void* sbrk(intptr_t by) noexcept {
  if (__builtin_expect(real::sbrk.address() == nullptr, 0)) {  // an allocator inside dlsym will ask for a mapping
    errno = ENOMEM;
    return (void*)-1;
  }
  auto* lift = attached(hooks.lift_watches);
  if (lift == nullptr || by >= 0) return real::sbrk(by);
  const auto present = (uintptr_t)real::sbrk(0);
  return lower<void*>(lift, present, present + (uintptr_t)by, [=] { return real::sbrk(by); });
}

WATCHER_INTERPOSER void* shmat(int segment, const void* address, int flags) noexcept {
  auto* lift = attached(hooks.lift_watches);
  return lift == nullptr || (flags & SHM_REMAP) == 0 ? real::shmat(segment, address, flags)
                                                     : attach_over(lift, segment, address, flags);
}

WATCHER_INTERPOSER int shmdt(const void* address) noexcept {
  auto* lift = attached(hooks.lift_watches);
  return lift == nullptr ? real::shmdt(address) : detach(lift, address);
}

}  // namespace watcher
