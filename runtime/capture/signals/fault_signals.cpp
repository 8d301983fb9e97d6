#include "runtime/capture/signals/fault_signals.h"

#include <errno.h>
#include <sys/syscall.h>

#include <initializer_list>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/engines/engine.h"
#include "runtime/capture/engines/hwbp_engine.h"
#include "runtime/capture/handler/fault_witness.h"
#include "runtime/capture/handler/kernel_window.h"
#include "runtime/capture/regions/alias_pages.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/signals/host_actions.h"
#include "runtime/capture/signals/signal_stacks.h"
#include "runtime/capture/store/code_slots.h"
#include "runtime/capture/store/store.h"

extern "C" const char watcher_signal_entry[], watcher_signal_return[];

// The entry keeps the kernel's frame as it is, so that a signal that is not ours can be handed on by a jump: the host's
// handler then sees exactly what the kernel would have given it, and returns to the kernel by itself. The return is
// spelled the way unwinders know it. They are told of the three words up to the call; what follows calls nobody.
__asm__(R"(
  .text
  .globl watcher_signal_entry, watcher_signal_return
  .hidden watcher_signal_entry, watcher_signal_return, watcher_signal_taken
  .type watcher_signal_entry, @function
watcher_signal_entry:
  .cfi_startproc
  push %rdi
  .cfi_adjust_cfa_offset 8
  push %rsi
  .cfi_adjust_cfa_offset 8
  push %rdx
  .cfi_adjust_cfa_offset 8
  lea 24(%rsp), %rcx
  cld
  call watcher_signal_taken
  mov %rdx, %rcx
  pop %rdx
  pop %rsi
  pop %rdi
  test %rax, %rax
  jz 1f
  add %rcx, %rsp
  add %rcx, %rsi
  add %rcx, %rdx
  jmp *%rax
1:
  ret
  .cfi_endproc
  .size watcher_signal_entry, . - watcher_signal_entry

  nop
  .type watcher_signal_return, @function
watcher_signal_return:
  mov $15, %rax
  syscall
  .size watcher_signal_return, . - watcher_signal_return
)");

namespace watcher {
namespace {

constexpr unsigned long kRestorerFlag = 0x04000000;
constexpr greg_t kWriteFault = 2;  // of the page-fault error code
constexpr greg_t kPageFault = 14;

constinit std::atomic<bool> installed{false};

bool is_write_fault(const ucontext_t* ucontext) {
  const gregset_t& registers = ucontext->uc_mcontext.gregs;
  return registers[REG_TRAPNO] == kPageFault && (registers[REG_ERR] & kWriteFault) != 0;
}

bool is_armed(std::uintptr_t address) {
  const Page* page = find_page(address);
  return page != nullptr && page->takes_stores();
}

/// The probe's code faulted: the event goes without a place.
void leave_place_call(const StoreContext& context, ucontext_t* ucontext) {
  ucontext->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(watcher_guarded_place_failed);
  ucontext->uc_mcontext.gregs[REG_RSP] = static_cast<greg_t>(context.place_resume);
}

/// The host's instruction faulted where it runs out of line: then it would have faulted in place as well.
bool slot_faulted(StoreContext* context, siginfo_t* info, ucontext_t* ucontext) {
  const std::uintptr_t address = host_address(*context, reinterpret_cast<std::uintptr_t>(info->si_addr));
  info->si_addr = reinterpret_cast<void*>(address);
  ucontext->uc_mcontext.gregs[REG_CR2] = static_cast<greg_t>(address);
  store_unwind(context, ucontext);
  return is_write_fault(ucontext) && is_armed(address);  // armed since: next time it is locked with the others
}

bool step_faulted(StoreContext* context, std::uintptr_t address, ucontext_t* ucontext) {
  const bool ours = is_write_fault(ucontext) && is_armed(address);
  if (ours && step_extend(context, address)) return true;
  step_finish(context, ucontext);
  return ours;  // what could not be opened as well traps again, by itself
}

/// Memory of ours that is not watched is only write-protected while the process forks.
bool wait_for_fork(std::uintptr_t address) {
  if (!alias_pages_contain(address)) return false;
  if (thread_state.holds_stores_off) return alias_page_reopen(address);
  release_store_context(acquire_store_context());
  return true;
}

/// True when the interrupted code may go on.
bool take_fault(int signal_number, siginfo_t* info, ucontext_t* ucontext) {
  gregset_t& registers = ucontext->uc_mcontext.gregs;
  const auto ip = static_cast<std::uintptr_t>(registers[REG_RIP]);
  if (info->si_code <= 0) return false;  // sent by someone
  if (const std::uintptr_t resume = guarded_resume(ip); resume != 0) {
    registers[REG_RIP] = static_cast<greg_t>(resume);
    return true;
  }
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  StoreContext* context = thread_state.current;
  if (context != nullptr) {
    if (context->phase == Phase::kPlacing) {
      leave_place_call(*context, ucontext);
      return true;
    }
    if (context->phase == Phase::kExecuting && is_in_code_slots(ip)) return slot_faulted(context, info, ucontext);
    if (context->phase == Phase::kStepping) return step_faulted(context, address, ucontext);
    return false;
  }
  if (signal_number != SIGSEGV || !is_write_fault(ucontext)) return false;
  if (is_armed(address)) return store_faulted(ucontext, address, true) != FaultOutcome::kForeign;
  const Page* page = find_page(address);
  const bool was_ours = page != nullptr && page->engine != nullptr && (page->protection & PROT_WRITE) != 0;
  return (wait_for_fork(address) || was_ours) && retry_store(ip, address) == FaultOutcome::kRetry;
}

bool take_trap(const siginfo_t* info, ucontext_t* ucontext) {
  if (hwbp_trapped(info, ucontext)) return true;
  StoreContext* context = thread_state.current;
  if (witness_signalled(info)) {
    if (context == nullptr) windows_close_own(ucontext);
    return true;
  }
  if (context == nullptr || context->phase != Phase::kStepping) return false;
  step_finish(context, ucontext);
  return true;
}

bool take_message(const siginfo_t* info, ucontext_t* ucontext) {
  std::uintptr_t address = 0;
  if (!uffd_message(info, &address)) return false;
  StoreContext* context = thread_state.current;
  if (context != nullptr && context->phase == Phase::kStepping) {
    if (is_armed(address) && !step_extend(context, address)) step_finish(context, ucontext);
  } else if (context == nullptr && is_armed(address)) {
    store_faulted(ucontext, address, false);
  }
  return true;
}

extern "C" __attribute__((used)) Delivery watcher_signal_taken(int signal_number, siginfo_t* info, void* argument,
                                                               std::byte* frame) {
  auto* ucontext = static_cast<ucontext_t*>(argument);
  const int saved_errno = errno;
  bool taken = false;
  if (signal_number == SIGTRAP)
    taken = take_trap(info, ucontext);
  else if (signal_number == uffd_signal())
    taken = take_message(info, ucontext);
  else
    taken = take_fault(signal_number, info, ucontext);
  if (!taken && thread_state.is_helper) raw_syscall(SYS_exit_group, 1);  // the host's handlers are none of its business
  const Delivery delivery = taken ? Delivery{} : deliver_to_host(signal_number, info, ucontext, frame);
  errno = saved_errno;
  return delivery;
}

KernelAction our_action() {
  return {const_cast<char*>(watcher_signal_entry),
          static_cast<unsigned long>(SA_SIGINFO | SA_ONSTACK | SA_NODEFER) | kRestorerFlag,
          const_cast<char*>(watcher_signal_return), kAsynchronousSignals};
}

}  // namespace

void fault_signals_install() {
  signal_stack_adopt();
  if (installed.exchange(true, std::memory_order_acq_rel)) return;
  for (const int signal_number : {SIGSEGV, SIGBUS, SIGTRAP}) take_signal(signal_number, our_action());
  // A fault whose signal is blocked kills. Blocked later it cannot be: see memory_filter_mask.
  const SignalMask faults = signal_bit(SIGSEGV) | signal_bit(SIGBUS);
  raw_syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &faults, nullptr, sizeof faults);
}

bool fault_signals_installed() {
  return installed.load(std::memory_order_acquire);
}

// A message that comes late finds its thread in a system call perhaps, which goes on then.
int fault_signals_take_realtime() {
  KernelAction action = our_action();
  action.flags |= SA_RESTART;
  for (int signal_number = 63; signal_number > 40; --signal_number) {
    KernelAction present;
    if (raw_syscall(SYS_rt_sigaction, signal_number, nullptr, &present, sizeof(SignalMask)) != 0) continue;
    if (present.handler == reinterpret_cast<void*>(SIG_DFL) && take_signal(signal_number, action)) return signal_number;
  }
  return 0;
}

}  // namespace watcher
