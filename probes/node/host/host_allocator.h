// Array buffers on pages that can be watched. Node's own calls of malloc and calloc are led through us, and those call
// sites that allocate array buffers are learnt by allocating some: their memory then comes from the runtime's twice
// mapped pages, where no allocator keeps books.
//
// Any thread; V8 frees array buffers on threads of its own.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watcher::node {

/// Leads node's calls through us; once. False: node's import table does not have them.
bool lead_host_allocator();

/// Between the two, allocations of exactly `bytes` by the calling thread show the call sites.
void begin_learning(std::size_t bytes);
/// How many sites are known now.
std::size_t end_learning();

/// While set, array buffers of the calling thread get pages that they share with nothing.
void want_own_pages(bool wanted);

/// Does this lie in memory that we handed out?
bool in_our_pages(std::uintptr_t address);

/// Called before a range that we handed out is free to be used again.
using RangeEnds = void (*)(std::uintptr_t begin, std::uintptr_t end);
void when_range_ends(RangeEnds ends);

/// After fork: whoever held the lock is not here.
void renew_allocator_lock();

}  // namespace watcher::node
