// What the host believes to be installed for the signals we have taken, and delivery to it.
//
// Any context: a spin lock, held with asynchronous signals blocked, over a few words.
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>

#include "runtime/capture/signals/signal_mask.h"

namespace watcher {

/// struct sigaction as the kernel has it.
struct KernelAction {
  void* handler = nullptr;
  unsigned long flags = 0;
  void* restorer = nullptr;
  SignalMask mask = 0;
};

/// Puts `ours` in the place of the host's action, which is kept here. False when the kernel refuses.
bool take_signal(int signal_number, const KernelAction& ours);
bool is_taken(int signal_number);

/// Two words that return in registers, to the assembler of the signal entry.
struct Delivery {
  void* handler;         // to be jumped to with the handler's arguments; null: return from the signal
  std::ptrdiff_t shift;  // added to the stack pointer and to the pointers into the signal frame
};

/// Lets the signal take the course it would have taken without us. `frame` is the kernel's signal frame.
Delivery deliver_to_host(int signal_number, siginfo_t* info, ucontext_t* ucontext, std::byte* frame);

}  // namespace watcher
