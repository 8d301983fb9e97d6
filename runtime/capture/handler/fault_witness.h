// Who faulted, user or kernel, and a word from the kernel when a system call that wrote to a watched page has ended.
//
// A perf event counts each thread's page faults (two on older kernels: each makes the change to another thread dearer).
// A BPF program lets only those in the watched range through, and notes for each thread whether its last one was the
// kernel's: the message of a userfaultfd does not say, and /proc is slow and silent about a thread that spins. A fault
// of the kernel makes SIGTRAP due: it is delivered at the exit of the system call and interrupts nothing. Without the
// filter every page the kernel touches for the host would cost a signal.
//
// The handler process owns the descriptors. `witness_signalled` is for signal handlers.
#pragma once

#include <signal.h>

#include <cstdint>

namespace watcher {

enum class FaultMode : std::uint8_t { kUnknown, kUser, kKernel };

/// False where the kernel grants no perf events or no programs: nothing is witnessed then.
bool witness_start();
/// Watches the host's threads; those they start follow by inheritance. Handler process.
void witness_all_threads();
/// The range to look at, of the host's addresses. Any context.
void witness_range(std::uintptr_t begin, std::size_t bytes);

/// What the thread's last fault was, on that page; asked once for each. Handler process.
FaultMode witness_take(std::uint32_t thread_id, std::uintptr_t page);
bool witness_present();
/// In a forked child, before a handler of its own.
void witness_forget();

/// Is this SIGTRAP ours?
bool witness_signalled(const siginfo_t* info);

}  // namespace watcher
