#include <sys/mman.h>

#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/self_memory.h"
#include "runtime/capture/store/store.h"

// Entered by a call from a code slot, right behind the host's store and in the middle of its life: every register and
// flag is saved and given back, none of the vector registers is touched (the library is compiled without them), nothing
// is written to the red zone, which the slot has skipped. The general registers are pushed in the order of their
// hardware numbers.
__asm__(R"(
  .text
  .globl watcher_commit_stub
  .hidden watcher_commit_stub, watcher_commit_store
  .type watcher_commit_stub, @function
watcher_commit_stub:
  pushfq
  push %r15
  push %r14
  push %r13
  push %r12
  push %r11
  push %r10
  push %r9
  push %r8
  push %rdi
  push %rsi
  push %rbp
  push %rsp
  push %rbx
  push %rdx
  push %rcx
  push %rax
  cld
  mov %rsp, %rdi
  mov %rsp, %rbp
  and $-16, %rsp
  call watcher_commit_store
  mov %rbp, %rsp
  pop %rax
  pop %rcx
  pop %rdx
  pop %rbx
  lea 8(%rsp), %rsp
  pop %rbp
  pop %rsi
  pop %rdi
  pop %r8
  pop %r9
  pop %r10
  pop %r11
  pop %r12
  pop %r13
  pop %r14
  pop %r15
  popfq
  ret
  .size watcher_commit_stub, . - watcher_commit_stub
)");

namespace watcher {
namespace {

constexpr unsigned kRcx = 1, kRdi = 7;

/// One store where the host's was one: a reader without a lock must not see half of an aligned word.
void store_bytes(std::byte* to, const std::byte* from, std::size_t bytes) {
  const auto word = [&]<class Word>(Word) {
    Word value;
    __builtin_memcpy(&value, from, sizeof value);
    __atomic_store_n(reinterpret_cast<volatile Word*>(to), value, __ATOMIC_RELAXED);
    to += sizeof value;
    from += sizeof value;
    bytes -= sizeof value;
  };
  if (bytes > 64) return copy_bytes(to, from, bytes);
  while (bytes >= 8) word(std::uint64_t{});
  if (bytes >= 4) word(std::uint32_t{});
  if (bytes >= 2) word(std::uint16_t{});
  if (bytes >= 1) word(std::uint8_t{});
}

/// Beside watched memory only what differs is written: the rest may by now be another thread's.
void store_outside(std::byte* to, const std::byte* from, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i)
    if (to[i] != from[i]) to[i] = from[i];
}

void store_to_page(const LockedPage& locked, std::byte* to, const std::byte* from, std::size_t bytes) {
  const Page& page = *locked.page;
  if (page.told != nullptr) store_bytes(page.told + (reinterpret_cast<std::uintptr_t>(to) & kPageMask), from, bytes);
  if (page.alias != 0) return store_bytes(to + page.alias, from, bytes);
  if (write_protected_memory(reinterpret_cast<std::uintptr_t>(to), from, bytes)) return;
  // No other way is left than to open the page: what other threads store meanwhile goes unseen.
  memory_state.ring->header()->single_steps.fetch_add(1, std::memory_order_relaxed);
  page.engine->disarm(locked.address, kPageBytes, page.protection);
  store_bytes(to, from, bytes);
  page.engine->arm(locked.address, kPageBytes, page.protection);
}

void restore_registers(const StoreContext& context, std::uint64_t* registers) {
  const StoreForm& form = context.form;
  if (form.kind != StoreKind::kString) {
    registers[form.scratch] = context.saved_register;
    return;
  }
  registers[kRdi] -= context.saved_register;
  if (form.repeated) registers[kRcx] += context.remaining;
}

}  // namespace

void copy_before(StoreContext* context, std::byte* to, std::uintptr_t from, std::size_t bytes) {
  while (bytes > 0) {
    const std::size_t to_boundary = kPageBytes - (from & kPageMask);
    const std::size_t piece = bytes < to_boundary ? bytes : to_boundary;
    const LockedPage* locked = locked_page(context, from);
    const std::byte* told = locked != nullptr ? locked->page->told : nullptr;
    copy_bytes(to, told != nullptr ? told + (from & kPageMask) : reinterpret_cast<const std::byte*>(from), piece);
    to += piece;
    from += piece;
    bytes -= piece;
  }
}

void commit_events(StoreContext* context) {
  for (int i = 0; i < context->range_count; ++i) {
    const CapturedRange& range = context->ranges[i];
    if (range.head == nullptr) continue;
    const std::size_t length = range.end - range.begin;
    std::byte* before = reinterpret_cast<std::byte*>(range.head + 1) + sizeof(MemoryBlob) + context->callers.bytes();
    std::byte* after = before + padded8(static_cast<std::uint32_t>(length));
    copy_bytes(after, before, length);
    const std::uintptr_t store_end = context->address + context->bytes;
    const std::uintptr_t begin = range.begin > context->address ? range.begin : context->address;
    const std::uintptr_t end = range.end < store_end ? range.end : store_end;
    copy_bytes(after + (begin - range.begin), context->image + (begin - context->address), end - begin);
    Claim{range.head, range.ticket, range.slots}.commit();
  }
}

// After the events: a reader of the memory in another thread must not be able to tell of a store whose event a SIGKILL
// could still prevent.
void commit_bytes(StoreContext* context) {
  const std::uintptr_t end = context->address + context->bytes;
  for (std::uintptr_t address = context->address; address < end;) {
    const std::uintptr_t boundary = page_of(address) + kPageBytes;
    const std::size_t bytes = (end < boundary ? end : boundary) - address;
    const LockedPage* locked = locked_page(context, address);
    auto* to = reinterpret_cast<std::byte*>(address);
    const std::byte* from = context->image + (address - context->address);
    if (locked != nullptr)
      store_to_page(*locked, to, from, bytes);
    else if (context->outside_reachable)
      store_outside(to, from, bytes);
    address += bytes;
  }
}

void commit_store(StoreContext* context) {
  commit_events(context);
  commit_bytes(context);
  unlock_pages(context);
  release_store_context(context);
}

extern "C" __attribute__((used)) void watcher_commit_store(std::uint64_t* registers) {
  StoreContext* context = thread_state.current;
  restore_registers(*context, registers);
  const SignalMask mask = context->host_mask;
  commit_store(context);
  set_signal_mask(mask);  // from here on the host's signals arrive again, the first ones right now
}

}  // namespace watcher
