// Instructions that only the processor can carry out in place: their page opens for the one instruction, and the
// difference tells what they wrote. Every step is counted; where there are other threads, whose stores to the open page
// would be told as this instruction's, its events are inexact.
#include "runtime/capture/bulk/bulk_window.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/store.h"
#include "runtime/capture/threads/thread_list.h"

namespace watcher {
namespace {

constexpr greg_t kTrapFlag = 0x100;

void open_page(StoreContext* context, const LockedPage& locked) {
  const int index = context->opened_count++;
  context->opened[index] = locked.address;
  context->told_elsewhere[index] = locked.page->told != nullptr;
  if (locked.page->told == nullptr) {
    std::byte* snapshot = context->scratch + static_cast<std::size_t>(index) * kPageBytes;
    copy_bytes(snapshot, reinterpret_cast<const void*>(locked.address), kPageBytes);
    locked.page->told = snapshot;
  }
  locked.page->engine->disarm(locked.address, kPageBytes, locked.page->protection);
}

bool is_opened(const StoreContext& context, std::uintptr_t address) {
  for (int i = 0; i < context.opened_count; ++i)
    if (context.opened[i] == page_of(address)) return true;
  return false;
}

void close_pages(StoreContext* context) {
  for (int i = 0; i < context->opened_count; ++i) {
    const LockedPage& locked = *locked_page(context, context->opened[i]);
    locked.page->engine->arm(locked.address, kPageBytes, locked.page->protection);
  }
}

/// A push of the flags has pushed the flag of our step as well. The page is open.
void clean_pushed_flags(const StoreContext& context, const ucontext_t* ucontext) {
  constexpr std::uint8_t kPushFlags = 0x9c, kOperandSize = 0x66;
  std::uint8_t code[3] = {};
  guarded_copy(code, reinterpret_cast<const void*>(context.registers[REG_RIP]), sizeof code);
  std::size_t at = code[0] == kOperandSize ? 1 : 0;
  at += (code[at] & 0xf0) == 0x40 ? 1 : 0;
  if (code[at] != kPushFlags || (context.registers[REG_EFL] & kTrapFlag) != 0) return;
  if (ucontext->uc_mcontext.gregs[REG_RIP] == context.registers[REG_RIP]) return;  // not done
  const auto pushed = static_cast<std::uintptr_t>(ucontext->uc_mcontext.gregs[REG_RSP]);
  auto* second = reinterpret_cast<std::uint8_t*>(pushed + 1);
  *second = static_cast<std::uint8_t>(*second & ~(kTrapFlag >> 8));
}

/// Narrows the store down to the bytes that differ on one opened page. False when none does.
bool find_difference(StoreContext* context, int index) {
  const std::byte* before = locked_page(context, context->opened[index])->page->told;
  const auto* now = reinterpret_cast<const std::byte*>(context->opened[index]);
  std::size_t first = 0;
  std::size_t last = kPageBytes;
  while (first < last && before[first] == now[first]) ++first;
  while (last > first && before[last - 1] == now[last - 1]) --last;
  context->address = context->opened[index] + first;
  context->bytes = static_cast<std::uint32_t>(last - first);
  context->image = reinterpret_cast<std::byte*>(context->address);
  return last > first;
}

void publish_differences(StoreContext* context, ucontext_t* ucontext) {
  for (int i = 0; i < context->opened_count; ++i) {
    if (!find_difference(context, i)) continue;
    capture_ranges(context, context->address, context->address + context->bytes);
    EventOrigin origin = {Op::kWrite, static_cast<std::uint64_t>(context->registers[REG_RIP]), 0, ucontext};
    origin.inexact = !only_thread();
    claim_events(context, origin);
    commit_events(context);
  }
  for (int i = 0; i < context->opened_count; ++i) {
    std::byte*& told = locked_page(context, context->opened[i])->page->told;
    if (context->told_elsewhere[i])
      copy_bytes(told, reinterpret_cast<const void*>(context->opened[i]), kPageBytes);
    else
      told = nullptr;
  }
}

}  // namespace

FaultOutcome step_begin(StoreContext* context, ucontext_t* ucontext, std::uintptr_t address) {
  // The neighbours are locked as well: a store that straddles must not have to lock against the order later.
  const std::uintptr_t begin = page_of(address) - kPageBytes;
  const std::uintptr_t end = begin + 3 * kPageBytes;
  lock_pages(context, begin, end);
  const LockedPage* locked = locked_page(context, address);
  const bool meets_window = meets_bulk_window(*context);
  if (locked == nullptr || meets_window) {
    unlock_pages(context);
    release_store_context(context);
    if (meets_window) bulk_windows_release(begin, end);
    return FaultOutcome::kRetry;
  }
  memory_state.ring->header()->single_steps.fetch_add(1, std::memory_order_relaxed);
  context->opened_count = 0;
  open_page(context, *locked);
  __builtin_memcpy(&context->host_mask, &ucontext->uc_sigmask, sizeof context->host_mask);
  const SignalMask mask = (context->host_mask | kAsynchronousSignals) & ~signal_bit(SIGTRAP);
  __builtin_memcpy(&ucontext->uc_sigmask, &mask, sizeof mask);
  ucontext->uc_mcontext.gregs[REG_EFL] |= kTrapFlag;
  context->phase = Phase::kStepping;
  return FaultOutcome::kTaken;
}

bool step_extend(StoreContext* context, std::uintptr_t address) {
  const LockedPage* locked = locked_page(context, address);
  if (locked == nullptr || is_opened(*context, address) || context->opened_count == kMaxOpenedPages) return false;
  open_page(context, *locked);
  return true;
}

void step_finish(StoreContext* context, ucontext_t* ucontext) {
  ucontext->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
  ucontext->uc_mcontext.gregs[REG_EFL] |= context->registers[REG_EFL] & kTrapFlag;
  clean_pushed_flags(*context, ucontext);
  close_pages(context);
  publish_differences(context, ucontext);
  __builtin_memcpy(&ucontext->uc_sigmask, &context->host_mask, sizeof context->host_mask);
  unlock_pages(context);
  release_store_context(context);
}

}  // namespace watcher
