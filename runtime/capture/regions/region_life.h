// A region's life between its watch and its end: who captures it, where it moves, what is told of that.
//
// Stores held off by the caller, asynchronous signals with them; normal context.
#pragma once

#include "runtime/capture/regions/region_map.h"
#include "runtime/queue/event.h"

namespace watcher {

/// Starts to capture: by the engine that regions are given to, or by their pages. 0 or an errno, with nothing changed.
int engage_region(Region* region);
void disengage_region(Region* region);

/// For an engine that cannot go on with a region, in a forked child.
void give_to_pages(Region* region);

/// The watch is over; `op` (kCount: none) is told as its last event. The region is free afterwards, or as soon as it
/// is settled (memory_lifetime.h).
void end_region(Region* region, Op op);
/// An event of the region as a whole: it moved or went.
void tell_of_region(const Region& region, Op op, std::uint64_t before, std::uint64_t after);

}  // namespace watcher
