// Puts regions onto pages and takes them off again, pages armed and disarmed along the way.
//
// Stores held off by the caller.
#pragma once

#include "runtime/capture/regions/region_map.h"

namespace watcher {

/// Enters the region in its pages' lists, no more: for engines that leave pages alone. 0 or an errno; on failure
/// nothing has changed.
int list_region(Region* region);
/// The same, and has the pages trap.
int place_region(Region* region);
/// The opposite of both.
void displace_region(Region* region);
/// The first region on any page of [begin, end), null when there is none.
Region* region_within(std::uintptr_t begin, std::uintptr_t end);

/// Why a page of [begin, end) must not be protected: EFAULT (not writable), or EBUSY (in use by the kernel or by our
/// own handlers while a store is under way: stack, thread control block, signal stack). 0 otherwise. Normal context.
int check_watchable(std::uintptr_t begin, std::uintptr_t end);

}  // namespace watcher
