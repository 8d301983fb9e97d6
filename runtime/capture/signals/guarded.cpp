#include "runtime/capture/signals/guarded.h"

extern "C" const char watcher_guarded_copy_access[], watcher_guarded_copy_resume[], watcher_guarded_touch_access[],
    watcher_guarded_touch_resume[];

// The labels name the one instruction that may fault, and what follows it. `rep movsb` leaves the rest in rcx, so
// resuming behind it is all there is to do; for the touch, eax is still 0. Unwinders are told of what the call in the
// middle of the last one stands on.
__asm__(R"(
  .text
  .hidden watcher_guarded_copy, watcher_guarded_touch, watcher_guarded_place, watcher_guarded_place_failed
  .hidden watcher_guarded_copy_access, watcher_guarded_copy_resume
  .hidden watcher_guarded_touch_access, watcher_guarded_touch_resume

  .globl watcher_guarded_copy, watcher_guarded_copy_access, watcher_guarded_copy_resume
  .type watcher_guarded_copy, @function
watcher_guarded_copy:
  mov %rdx, %rcx
watcher_guarded_copy_access:
  rep movsb
watcher_guarded_copy_resume:
  mov %rcx, %rax
  ret
  .size watcher_guarded_copy, . - watcher_guarded_copy

  .globl watcher_guarded_touch, watcher_guarded_touch_access, watcher_guarded_touch_resume
  .type watcher_guarded_touch, @function
watcher_guarded_touch:
  xor %eax, %eax
watcher_guarded_touch_access:
  lock orb $0, (%rdi)
  mov $1, %eax
watcher_guarded_touch_resume:
  ret
  .size watcher_guarded_touch, . - watcher_guarded_touch

  .globl watcher_guarded_place, watcher_guarded_place_failed
  .type watcher_guarded_place, @function
watcher_guarded_place:
  .cfi_startproc
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  sub $8, %rsp
  .cfi_def_cfa_offset 64
  .cfi_offset %rbx, -16
  .cfi_offset %rbp, -24
  .cfi_offset %r12, -32
  .cfi_offset %r13, -40
  .cfi_offset %r14, -48
  .cfi_offset %r15, -56
  mov %rsp, (%rcx)
  mov %rdi, %rax
  mov %rsi, %rdi
  mov %rdx, %rsi
  call *%rax
1:
  add $8, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
watcher_guarded_place_failed:
  xor %eax, %eax
  cld
  jmp 1b
  .cfi_endproc
  .size watcher_guarded_place, . - watcher_guarded_place
)");

namespace watcher {

std::uintptr_t guarded_resume(std::uintptr_t ip) {
  if (ip == reinterpret_cast<std::uintptr_t>(watcher_guarded_copy_access))
    return reinterpret_cast<std::uintptr_t>(watcher_guarded_copy_resume);
  if (ip == reinterpret_cast<std::uintptr_t>(watcher_guarded_touch_access))
    return reinterpret_cast<std::uintptr_t>(watcher_guarded_touch_resume);
  return 0;
}

}  // namespace watcher
