#include "runtime/capture/bulk/return_stubs.h"

#include "runtime/capture/spin_lock.h"

// Constant code over a table in memory, so nothing is generated at run time. A stub is 32 bytes: the light one at 8 is
// a jump through its table entry; the heavy one at 16 puts the return address back where it was and tells us. Unwinders
// see a stub as a frame without a stack: the return address is in the table entry, which is as far from the table's
// start as the stub is from the pool's. They look at the byte before a return address, hence the one in front.
__asm__(R"(
  .section .text.watcher_stubs, "ax", @progbits
  .balign 64
  .hidden watcher_stub_pool, watcher_stub_pool_end, watcher_stub_targets, watcher_heavy_return, watcher_call_returned
  .globl watcher_stub_pool, watcher_stub_pool_end
watcher_stub_pool:
  .set index, 0
  .rept 1024
  .balign 32, 0x90
  .fill 8, 1, 0x90
  jmp *watcher_stub_targets + 32 * index(%rip)
  .balign 16, 0x90
  push watcher_stub_targets + 32 * index(%rip)
  jmp watcher_heavy_return
  .set index, index + 1
  .endr
  .balign 32, 0x90
watcher_stub_pool_end:

  .section .eh_frame, "a", @progbits
1:
  .long 3f - 2f
2:
  .long 0
  .byte 1
  .asciz "zR"
  .byte 1, 0x78, 16, 1, 0x1b      # code and data alignment, return register, pc-relative 4-byte addresses
  .byte 0x0c, 7, 0                # CFA = rsp
  .balign 8
3:
  .long 6f - 5f
5:
  .long 5b - 1b
  .long watcher_stub_pool - .
  .long watcher_stub_pool_end - watcher_stub_pool
  .byte 0
  .byte 0x10, 16, 8f - 7f         # the return address lies at:
7:
  .byte 0x80, 0, 0x09, 0xe0, 0x1a # rip & -32
  .byte 0x0d
9:
  .long watcher_stub_targets - .
  .byte 0x22, 0x0d
10:
  .long watcher_stub_pool - .
  .byte 0x1c, 0x09, 9b - 10b, 0x22  # + (targets - pool)
8:
  .balign 8
6:

  .text
  .globl watcher_heavy_return
  .type watcher_heavy_return, @function
watcher_heavy_return:
  .cfi_startproc
  push %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset 6, -16
  mov %rsp, %rbp
  .cfi_def_cfa_register 6
  push %rax
  push %rdx
  sub $48, %rsp
  movups %xmm0, (%rsp)
  movups %xmm1, 16(%rsp)
  lea 8(%rbp), %rdi
  and $-16, %rsp
  call watcher_call_returned
  lea -64(%rbp), %rsp
  movups (%rsp), %xmm0
  movups 16(%rsp), %xmm1
  add $48, %rsp
  pop %rdx
  pop %rax
  pop %rbp
  .cfi_def_cfa 7, 8
  ret
  .cfi_endproc
  .size watcher_heavy_return, . - watcher_heavy_return
)");

namespace watcher {

extern "C" {
extern const char watcher_stub_pool[], watcher_stub_pool_end[];
struct StubTarget {
  std::uintptr_t address;
  std::uintptr_t unused[3];
};
constexpr std::size_t kStubs = 1024;
__attribute__((used, visibility("hidden"))) constinit StubTarget watcher_stub_targets[kStubs] = {};
}

namespace {

constexpr std::size_t kStubBytes = sizeof(StubTarget);
constexpr std::uintptr_t kLight = 8, kHeavy = 16;
constexpr std::size_t kBuckets = 2 * kStubs;

constinit std::atomic<std::uint16_t> buckets[kBuckets] = {};  // index + 1; release, after the target is written
constinit std::size_t used = 0;
constinit SpinLock adding;

std::uintptr_t pool() {
  return reinterpret_cast<std::uintptr_t>(watcher_stub_pool);
}

/// The bucket that refers to the address, or the free one where it belongs.
std::size_t bucket_of(std::uintptr_t return_address) {
  std::size_t bucket = (return_address * 0x9e3779b97f4a7c15u) >> 53;
  for (;; bucket = (bucket + 1) % kBuckets) {
    const std::uint16_t entry = buckets[bucket].load(std::memory_order_acquire);
    if (entry == 0 || watcher_stub_targets[entry - 1].address == return_address) return bucket;
  }
}

std::uintptr_t light_at(std::size_t index) {
  return pool() + index * kStubBytes + kLight;
}

}  // namespace

std::uintptr_t light_stub(std::uintptr_t return_address) {
  if (const std::uint16_t entry = buckets[bucket_of(return_address)].load(std::memory_order_acquire))
    return light_at(entry - 1u);
  SpinGuard guard(adding);
  const std::size_t bucket = bucket_of(return_address);
  if (const std::uint16_t entry = buckets[bucket].load(std::memory_order_relaxed)) return light_at(entry - 1u);
  if (used == kStubs) return 0;
  watcher_stub_targets[used].address = return_address;
  buckets[bucket].store(static_cast<std::uint16_t>(++used), std::memory_order_release);
  return light_at(used - 1);
}

std::uintptr_t heavy_stub(std::uintptr_t stub) {
  return pool() + (stub - pool()) / kStubBytes * kStubBytes + kHeavy;
}

std::uintptr_t stub_target(std::uintptr_t address) {
  return address - pool() < kStubs * kStubBytes ? watcher_stub_targets[(address - pool()) / kStubBytes].address : 0;
}

bool is_heavy_stub(std::uintptr_t address) {
  return stub_target(address) != 0 && (address - pool()) % kStubBytes == kHeavy;
}

}  // namespace watcher
