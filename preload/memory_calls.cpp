// The end and the growth of memory that may be the runtime's own: watched buffers live on pages the allocator never
// saw. Any thread; before our constructor, inside dlsym, and after exit handlers as well.
#include "preload/attached_runtime.h"
#include "preload/lifted_watches.h"
#include "preload/real_functions.h"

namespace watcher {
namespace {

// Out of line, so that the forwarding path saves no register for them.
__attribute__((noinline)) void free_with_hook(void* pointer) {
  auto* hook = attached(hooks.free_memory);
  if (hook == nullptr) return real::free(pointer);
  ErrnoKeeper keeper;
  if (pointer == nullptr || hook(pointer) != 0) return;
  if (auto* lift = attached(hooks.lift_watches)) LiftedWatches(lift, pointer, real::malloc_usable_size(pointer)).end();
  real::free(pointer);
}

/// The allocator's own block: watches on it follow.
void* realloc_block(void* pointer, size_t bytes) {
  auto* lift = attached(hooks.lift_watches);
  if (lift == nullptr) return real::realloc(pointer, bytes);
  const size_t had = real::malloc_usable_size(pointer);
  const LiftedWatches watches(lift, pointer, had);
  void* moved = real::realloc(pointer, bytes);
  if (moved != nullptr)
    watches.settle(moved, bytes);
  else
    bytes == 0 ? watches.end() : watches.settle(pointer, had);
  return moved;
}

__attribute__((noinline)) void* realloc_with(decltype(hooks.realloc_memory) hook, void* pointer, size_t bytes) {
  void* moved = nullptr;
  if (pointer == nullptr) return real::realloc(pointer, bytes);
  return hook(pointer, bytes, &moved) != 0 ? moved : realloc_block(pointer, bytes);
}

}  // namespace

WATCHER_INTERPOSER void free(void* pointer) noexcept {
  // node calls it millions of times: half as many instructions as with the other interposers' way
  auto* next = reinterpret_cast<decltype(&::free)>(real::free.known());
  if (__builtin_expect(attached(hooks.free_memory) != nullptr || next == nullptr, 0)) return free_with_hook(pointer);
  next(pointer);
}

WATCHER_INTERPOSER void* realloc(void* pointer, size_t bytes) noexcept {
  auto* hook = attached(hooks.realloc_memory);
  return hook == nullptr ? real::realloc(pointer, bytes) : realloc_with(hook, pointer, bytes);
}

WATCHER_INTERPOSER size_t malloc_usable_size(void* pointer) noexcept {
  if (auto* hook = attached(hooks.memory_size); hook != nullptr && pointer != nullptr)
    if (size_t bytes = hook(pointer); bytes != 0) return bytes;
  return real::malloc_usable_size(pointer);
}

}  // namespace watcher
