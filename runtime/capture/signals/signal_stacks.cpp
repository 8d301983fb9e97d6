#include "runtime/capture/signals/signal_stacks.h"

#include <errno.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <atomic>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/memory_watch.h"
#include "runtime/capture/signals/signal_mask.h"
#include "runtime/capture/store/store_context.h"

namespace watcher {
namespace {

// Measured on CPython 3.8 to 3.13 with AVX-512: 6,576 bytes, of which 3,376 the kernel's frame; a fault in the probe
// needs another frame and the handler once more.
constexpr std::size_t kHandlerBytes = 8 * 1024;
constexpr std::size_t kStackBytes = 32 * 1024;
constexpr int kStacks = 128;
#ifndef AT_MINSIGSTKSZ
constexpr unsigned long AT_MINSIGSTKSZ = 51;
#endif

/// Memory stays once it is mapped; the thread that has it is 0 when it is free, and may have ended without a word.
struct OwnStack {
  std::atomic<std::uint32_t> thread_id{0};
  std::byte* memory = nullptr;
};
constinit OwnStack stacks[kStacks];

struct ThreadStack {
  OwnStack* own;
  stack_t host;
};
__thread ThreadStack thread_stack __attribute__((tls_model("initial-exec")));

bool is_too_small(const stack_t& stack) {
  const unsigned long frame = getauxval(AT_MINSIGSTKSZ);
  return (stack.ss_flags & SS_DISABLE) == 0 && stack.ss_size < kHandlerBytes + 2 * (frame != 0 ? frame : 2048);
}

bool has_ended(std::uint32_t thread_id) {
  return raw_syscall(SYS_tgkill, raw_syscall(SYS_getpid), thread_id, 0) == -ESRCH;
}

bool map_stack(OwnStack* stack) {
  if (stack->memory != nullptr) return true;
  const long memory = raw_syscall(SYS_mmap, nullptr, kPageBytes + kStackBytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory < 0 && memory > -4096) return false;
  raw_syscall(SYS_mprotect, memory, kPageBytes, PROT_NONE);
  stack->memory = reinterpret_cast<std::byte*>(memory) + kPageBytes;
  return true;
}

OwnStack* take_stack() {
  for (OwnStack& stack : stacks) {
    std::uint32_t owner = stack.thread_id.load(std::memory_order_relaxed);
    if (owner != 0 && !has_ended(owner)) continue;
    if (!stack.thread_id.compare_exchange_strong(owner, current_thread_id(), std::memory_order_acquire)) continue;
    if (map_stack(&stack)) return &stack;
    stack.thread_id.store(0, std::memory_order_release);
    return nullptr;
  }
  return nullptr;
}

void give_back() {
  OwnStack* own = thread_stack.own;
  thread_stack.own = nullptr;
  if (own != nullptr) own->thread_id.store(0, std::memory_order_release);
}

/// The host's stack is in place; ours takes it where it is too small.
void replace_if_small(const stack_t& host) {
  if (!is_too_small(host)) return give_back();
  OwnStack* own = thread_stack.own != nullptr ? thread_stack.own : take_stack();
  if (own == nullptr) return;
  stack_t ours = host;
  ours.ss_sp = own->memory;
  ours.ss_size = kStackBytes;
  thread_stack.host = host;
  thread_stack.own = own;
  if (raw_syscall(SYS_sigaltstack, &ours, nullptr) != 0) give_back();
}

void show_hosts(stack_t* stack) {
  const ThreadStack& thread = thread_stack;
  if (thread.own == nullptr || stack->ss_sp != thread.own->memory) return;
  stack->ss_sp = thread.host.ss_sp;
  stack->ss_size = thread.host.ss_size;
}

}  // namespace

// The kernel is asked first, with what the host passed: what it refuses, or cannot read, is refused.
int memory_set_stack(const stack_t* stack, stack_t* previous, int* result) {
  SignalsHeldOff signals;
  stack_t before = {};
  raw_syscall(SYS_sigaltstack, nullptr, &before);
  show_hosts(&before);
  long outcome = stack == nullptr ? 0 : raw_syscall(SYS_sigaltstack, stack, nullptr);
  if (outcome == 0 && stack != nullptr) replace_if_small(*stack);
  if (outcome == 0 && previous != nullptr) outcome = raw_syscall(SYS_sigaltstack, nullptr, previous);
  if (outcome == 0 && previous != nullptr) *previous = before;
  if (outcome != 0) errno = static_cast<int>(-outcome);
  *result = outcome == 0 ? 0 : -1;
  return 1;
}

void signal_stack_adopt() {
  stack_t present = {};
  if (thread_stack.own != nullptr || raw_syscall(SYS_sigaltstack, nullptr, &present) != 0) return;
  if ((present.ss_flags & SS_ONSTACK) == 0) replace_if_small(present);
}

const stack_t* replaced_signal_stack() {
  return thread_stack.own != nullptr ? &thread_stack.host : nullptr;
}

void signal_stacks_after_fork_child() {
  if (thread_stack.own != nullptr) thread_stack.own->thread_id.store(current_thread_id(), std::memory_order_relaxed);
}

}  // namespace watcher
