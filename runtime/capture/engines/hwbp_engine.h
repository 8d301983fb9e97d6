// What the rest of the capture has to know of debug registers: their trap, and the stores that are carried out for the
// host and must not count as the host's.
//
// Any context.
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <cstdint>

namespace watcher {

/// A SIGTRAP of perf's: true when it was one of ours, and is dealt with.
bool hwbp_trapped(const siginfo_t* info, ucontext_t* ucontext);
/// Is there a watched word in the range?
bool hwbp_watches(std::uintptr_t begin, std::uintptr_t end);
/// Our copy of what a system call wrote has reached the range.
void hwbp_kernel_wrote(std::uintptr_t begin, std::uintptr_t end, std::uint32_t system_call);

}  // namespace watcher
