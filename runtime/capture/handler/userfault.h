// The userfaultfd of a process: its descriptor is the handler's alone, so that its death alone lets the host go on.
//
// Everyone may protect: the host's threads ask the handler. Any context.
#pragma once

#include <linux/userfaultfd.h>

#include <cstddef>
#include <cstdint>

namespace watcher {

/// Stores to the range trap (`on`), or go on. 0 or an errno; ENOTCONN without a handler.
int userfault_protect(std::uintptr_t address, std::size_t bytes, bool on);
/// The same for a range that may be new.
int userfault_arm(std::uintptr_t address, std::size_t bytes);
/// Lets stores go on and the range be as it was before it was armed first.
int userfault_release(std::uintptr_t address, std::size_t bytes);

std::int64_t monotonic_ns();

// Handler process.

/// With full privilege, and not in a system call's way. 0 or an errno.
int userfault_open();
int userfault_descriptor();
/// Lets whoever waits for the page look again; it stays as it is.
void userfault_wake(std::uintptr_t page);
/// How many wakes there have been. Nobody but the handler wakes.
std::uint64_t userfault_wakes();
/// Has whoever waited for the page been woken after the first `count` wakes? What was told before is old then, and who
/// still wants to store tells again.
bool userfault_woken_since(std::uint64_t count, std::uintptr_t page);

}  // namespace watcher
