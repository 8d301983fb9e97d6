#include "runtime/capture/signals/host_actions.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/engines/engine.h"
#include "runtime/capture/memory_watch.h"
#include "runtime/capture/signals/signal_stacks.h"
#include "runtime/capture/spin_lock.h"
#include "runtime/capture/store/store.h"

namespace watcher {
namespace {

constexpr int kSignals = 65;
constexpr unsigned long kRestorerFlag = 0x04000000;
constexpr std::uintptr_t kRedZoneBytes = 128;

constinit KernelAction host_actions[kSignals] = {};
constinit std::atomic<bool> taken[kSignals] = {};
constinit SpinLock actions_lock;

bool is_handler(const KernelAction& action) {
  return action.handler != reinterpret_cast<void*>(SIG_DFL) && action.handler != reinterpret_cast<void*>(SIG_IGN);
}

KernelAction exchange_action(int signal_number, const KernelAction* action) {
  SignalsHeldOff signals;
  SpinGuard guard(actions_lock);
  const KernelAction previous = host_actions[signal_number];
  if (action != nullptr) host_actions[signal_number] = *action;
  return previous;
}

/// The action for one delivery; SA_RESETHAND resets it as the kernel does.
KernelAction action_for_delivery(int signal_number) {
  SpinGuard guard(actions_lock);
  KernelAction& stored = host_actions[signal_number];
  const KernelAction action = stored;
  if (is_handler(action) && (action.flags & SA_RESETHAND) != 0) {
    stored.handler = reinterpret_cast<void*>(SIG_DFL);
    stored.flags &= ~static_cast<unsigned long>(SA_SIGINFO);
  }
  return action;
}

/// The process dies by this signal. A fault comes again by itself when the handler returns; a signal that was sent has
/// to be sent again.
void die_of(int signal_number, const siginfo_t* info) {
  const KernelAction by_default;
  raw_syscall(SYS_rt_sigaction, signal_number, &by_default, nullptr, sizeof(SignalMask));
  if (info->si_code > 0 && signal_number != SIGTRAP) return;
  raw_syscall(SYS_tgkill, raw_syscall(SYS_getpid), raw_syscall(SYS_gettid), signal_number);
}

std::size_t extended_state_bytes(const void* state) {
  constexpr std::size_t kSoftwareReserved = 464;
  constexpr std::uint32_t kMagic = 0x46505853;
  std::uint32_t fields[2];
  __builtin_memcpy(fields, static_cast<const std::byte*>(state) + kSoftwareReserved, sizeof fields);
  return fields[0] == kMagic ? fields[1] : 512;
}

/// Copies the frame to below `limit`, where the kernel would have built it, and returns how far that is.
std::ptrdiff_t move_frame(ucontext_t* ucontext, std::byte* frame, std::uintptr_t limit) {
  auto* state = reinterpret_cast<std::byte*>(ucontext->uc_mcontext.fpregs);
  std::byte* end = state != nullptr ? state + extended_state_bytes(state)
                                    : reinterpret_cast<std::byte*>(ucontext) + sizeof *ucontext + sizeof(siginfo_t);
  const auto bytes = static_cast<std::size_t>(end - frame);
  const std::uintptr_t top = limit - bytes;
  // The extended state is aligned to 64 bytes, and stays so when the frame moves by a multiple of that.
  const std::ptrdiff_t shift = (static_cast<std::ptrdiff_t>(top - reinterpret_cast<std::uintptr_t>(frame)) & ~63l);
  if (state != nullptr) ucontext->uc_mcontext.fpregs = reinterpret_cast<fpregset_t>(state + shift);
  copy_bytes(frame + shift, frame, bytes);
  return shift;
}

bool on_alternate_stack(const ucontext_t* ucontext, const std::byte* frame) {
  const stack_t& stack = ucontext->uc_stack;
  const auto* low = static_cast<const std::byte*>(stack.ss_sp);
  if ((stack.ss_flags & SS_DISABLE) != 0) return false;
  const auto* interrupted = reinterpret_cast<const std::byte*>(ucontext->uc_mcontext.gregs[REG_RSP]);
  const bool was_there = interrupted > low && interrupted <= low + stack.ss_size;
  return !was_there && frame >= low && frame < low + stack.ss_size;
}

/// We run on the alternate stack wherever the thread has one, and that may be ours in place of the host's: its handler
/// must run where it asked to.
std::ptrdiff_t move_to_host_stack(const KernelAction& action, ucontext_t* ucontext, std::byte* frame) {
  if (!on_alternate_stack(ucontext, frame)) return 0;
  if ((action.flags & SA_ONSTACK) == 0)
    return move_frame(ucontext, frame,
                      static_cast<std::uintptr_t>(ucontext->uc_mcontext.gregs[REG_RSP]) - kRedZoneBytes);
  const stack_t* host = replaced_signal_stack();
  if (host == nullptr) return 0;
  return move_frame(ucontext, frame, reinterpret_cast<std::uintptr_t>(host->ss_sp) + host->ss_size);
}

}  // namespace

bool take_signal(int signal_number, const KernelAction& ours) {
  KernelAction previous;
  if (raw_syscall(SYS_rt_sigaction, signal_number, &ours, &previous, sizeof(SignalMask)) != 0) return false;
  if (!taken[signal_number].load(std::memory_order_relaxed)) exchange_action(signal_number, &previous);
  taken[signal_number].store(true, std::memory_order_release);
  return true;
}

bool is_taken(int signal_number) {
  return signal_number > 0 && signal_number < kSignals && taken[signal_number].load(std::memory_order_acquire);
}

Delivery deliver_to_host(int signal_number, siginfo_t* info, ucontext_t* ucontext, std::byte* frame) {
  const KernelAction action = action_for_delivery(signal_number);
  if (action.handler == reinterpret_cast<void*>(SIG_IGN) && info->si_code <= 0) return {};
  if (!is_handler(action)) {
    die_of(signal_number, info);
    return {};
  }
  SignalMask mask = 0;
  __builtin_memcpy(&mask, &ucontext->uc_sigmask, sizeof mask);
  mask |= action.mask;
  if ((action.flags & SA_NODEFER) == 0) mask |= signal_bit(signal_number);
  const Delivery delivery = {action.handler, move_to_host_stack(action, ucontext, frame)};
  // A watched store in the host's handler must still reach us, whatever that handler asked to block.
  set_signal_mask(mask & ~(signal_bit(SIGSEGV) | signal_bit(SIGBUS)));
  return delivery;
}

int memory_set_action(int signal_number, const struct sigaction* action, struct sigaction* previous, int* result) {
  if (!is_taken(signal_number)) return 0;
  KernelAction asked;
  if (action != nullptr) {
    asked.handler = reinterpret_cast<void*>(action->sa_handler);
    asked.flags = static_cast<unsigned long>(static_cast<unsigned>(action->sa_flags)) | kRestorerFlag;
    __builtin_memcpy(&asked.mask, &action->sa_mask, sizeof asked.mask);
  }
  const KernelAction before = exchange_action(signal_number, action != nullptr ? &asked : nullptr);
  if (previous != nullptr) {
    previous->sa_handler = reinterpret_cast<__sighandler_t>(before.handler);
    previous->sa_flags = static_cast<int>(before.flags);
    previous->sa_restorer = reinterpret_cast<void (*)()>(before.restorer);
    sigemptyset(&previous->sa_mask);
    __builtin_memcpy(&previous->sa_mask, &before.mask, sizeof before.mask);
  }
  *result = 0;
  return 1;
}

void memory_filter_mask(void* sigset) {
  SignalMask mask = 0;
  __builtin_memcpy(&mask, sigset, sizeof mask);
  // SIGTRAP may stay blocked: a single step unblocks it for itself.
  // Also before the first watch: a thread may have blocked the faults and then live as long as the process.
  mask &= ~(signal_bit(SIGSEGV) | signal_bit(SIGBUS));
  if (is_taken(uffd_signal())) mask &= ~signal_bit(uffd_signal());
  __builtin_memcpy(sigset, &mask, sizeof mask);
}

}  // namespace watcher
