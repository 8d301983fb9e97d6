// Who faulted, user or kernel, and a word from the kernel when a system call that wrote to a watched page has ended.
//
// The message of a userfaultfd does not say who, and /proc is slow and silent about a thread that spins. So a BPF
// program at the tracepoint of the kernel's own page faults leaves a note for the thread, before the message is sent.
// Faults of user code, the host's and everybody's, meet no program of ours, and neither do changes of threads.
//
// For the end of the call two perf events are opened on the thread while it waits in its fault: one of the two counts
// that fault's completion, and makes SIGTRAP due, which is delivered at the exit of the system call and interrupts
// nothing. They are closed when the thread has made no such call for a while, because a thread with events makes each
// change to another one dearer. A second program lets only faults in the watched range through: without it every page
// that the kernel touches for the host would cost a signal (before Linux 6.10 it does: signals are not held back).
//
// The handler process owns the descriptors. `witness_signalled` is for signal handlers.
#pragma once

#include <signal.h>

#include <cstdint>

namespace watcher {

enum class FaultMode : std::uint8_t { kUnknown, kUser, kKernel };

/// False where the kernel grants no perf events or no programs: nothing is witnessed then.
bool witness_start();
/// The range to look at, of the host's addresses. Any context.
void witness_range(std::uintptr_t begin, std::size_t bytes);

/// What the thread's fault is whose message is read, as far as its note tells: kKernel may be an old note, kUser is
/// certain. Handler process.
FaultMode witness_look(std::uint32_t thread_id, std::uintptr_t address);
/// It turned out to be that: the note that was looked at last has served, and of a user's fault it was old.
void witness_settle(std::uint32_t thread_id, FaultMode mode);
/// Has SIGTRAP sent to the thread, which waits in a fault of the kernel's, when its call ends. Handler process.
bool witness_end_of_call(std::uint32_t thread_id, std::int64_t now_ns);
/// Closes the events of threads that have made no such call lately. Handler process.
void witness_tend(std::int64_t now_ns);
bool witness_present();
/// In a forked child, before a handler of its own.
void witness_forget();

/// Is this SIGTRAP ours?
bool witness_signalled(const siginfo_t* info);

}  // namespace watcher
