// An arena whose pages are mapped twice: where the host sees them, and at a fixed distance a second time, always
// writable, for the commits. Backed by a memfd that is closed once mapped.
//
// Allocation: normal context, stores held off or under the caller's lock. The look-ups: any context.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watcher {

bool alias_pages_contain(std::uintptr_t address);
/// Distance from a page of the arena to its second mapping; 0 when there is none (a forked child short of descriptors).
std::ptrdiff_t alias_distance();

/// Zeroed, aligned to 64 bytes, to a page where it takes whole ones; null with errno.
void* alias_allocate(std::size_t bytes);
/// Bytes of the allocation that begins here, 0 for none.
std::size_t alias_allocated(std::uintptr_t address);
void alias_free(std::uintptr_t address);

/// Undoes, for one page, the protection of alias_pages_before_fork: for the forking thread itself.
bool alias_page_reopen(std::uintptr_t address);

// Fork, stores held off. A shared mapping would let parent and child see each other's stores.

/// Copies the arena for the child. `protect` keeps stores to unwatched pages off meanwhile: needs the fault handlers.
void alias_pages_before_fork(bool protect);
void alias_pages_after_fork_parent();
void alias_pages_after_fork_child();

}  // namespace watcher
