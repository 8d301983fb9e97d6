// Executable copies of store instructions, redirected, each followed by the way into the commit and back to the host.
//
// Zone: called by the fault handlers. The area is writable only through a second mapping.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/capture/store/store_context.h"

namespace watcher {

/// Maps the area. False when the kernel grants no executable memory: every store is single-stepped then.
bool code_slots_reserve();

/// Decodes the instruction at `ip` into context->form. Returns the code to run in its place, null when there is none.
const std::byte* code_for_store(StoreContext* context, std::uintptr_t ip);

/// How many bytes the store that ends at `ip` may have written, at most; 0: nothing there looks like a store.
std::uint32_t widest_store_before(std::uintptr_t ip);

bool is_in_code_slots(std::uintptr_t ip);

/// In a forked child: an area of its own.
void code_slots_after_fork_child();

}  // namespace watcher
