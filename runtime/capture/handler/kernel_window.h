// Pages that are open for a store that its thread cannot carry out of line: the kernel's in a system call, or that of a
// thread that blocks our signal. What was there before is kept until the difference has been told.
//
// The handler process opens. The storing thread closes, at the exit of its system call (fault_witness.h); failing that
// the handler does. Under the page's lock, which is never held while the page is open: a call may last for ever.
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <cstdint>

#include "runtime/queue/event.h"

namespace watcher {

struct Page;

struct Opening {
  std::uintptr_t address;     // of the store
  std::uint32_t thread_id;    // 0: a writer that is no thread of the host
  std::uint32_t system_call;  // number + 1; 0: not known
  Op op;
  bool told_by_thread;   // it will close the page itself
  bool insists = false;  // has waited for a bulk window for long: that may itself be waiting for this store
};

bool windows_reserve();

// Handler process.

/// Opens the page and lets the writer go on. False: not just now.
bool window_open(const Opening& opening);
/// Is the page open, and was it opened for that thread?
bool window_is_open(std::uintptr_t page, std::uint32_t thread_id);
/// Closes what has been open for long enough.
void windows_tend(std::int64_t now_ns);
/// Milliseconds until windows_tend is worth a call.
int windows_patience_ms();

/// What is still open when the host ends: by the handler when there is no host any more, or by the host's last thread
/// (normal context).
void windows_close_all();

/// In the SIGTRAP handler of a thread: closes what was opened for it.
void windows_close_own(ucontext_t* ucontext);

/// The page is no longer watched. Stores held off.
void window_forget(Page* page);

/// The handler is gone, or it is the parent's and was copied in the middle of something. Stores held off.
void windows_forget_all();

}  // namespace watcher
