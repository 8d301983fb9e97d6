// A process that shares the host's memory and nothing else: neither thread group (a host counts its threads), nor
// descriptors, nor signal handlers, nor limits. The host never sees it: it is no child that wait() reports, and belongs
// to no terminal.
//
// Only code that keeps to raw system calls may run in it: it has a thread pointer, but no thread of libc's behind it.
// Starting: normal context; all signals blocked by the caller, for they are inherited that way.
#pragma once

#include <cstdint>

namespace watcher {

enum class Helper : std::uint8_t { kGuard, kHandler, kCount };

/// Never returns.
using HelperMain = void (*)();

/// Stacks and thread-local blocks. False when memory is short.
bool helper_processes_reserve();

/// Starts a helper that is nobody's child (of a host that would inherit orphans: one that its wait() leaves out).
/// A process id or -errno.
long start_detached_helper(Helper which, HelperMain entry);
/// From within a helper: a child of its own, to be awaited with __WALL. A process id or -errno.
long start_child_helper(Helper which, HelperMain entry);

/// First thing in a helper: lets go of everything that was inherited.
void settle_in_helper(const char* name);
/// The host was allowed so few descriptors, for good, that none is to spare for what only saves time.
bool descriptors_are_scarce();

}  // namespace watcher
