// What the host does with the memory under a watch, where it is not ours: it unmaps, moves, empties or protects it.
// The interposers of such calls ask here first (preload/runtime_hooks.h).
//
// Any thread; not from within a store's handler. A call that comes from our own code, with stores held off, is none of
// the host's.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watcher {

/// Called once, when memory that is not ours is watched for the first time: before that nobody needs to ask.
void when_watched_in_place(void (*call)());
void note_watch_in_place();

/// The memory is about to be freed, unmapped or moved: the watches on any byte of it let go. 0: there are none.
std::uint64_t lift_watches(void* start, std::size_t bytes);
/// What became of it: it begins at `start` now (null: it is gone) and has `bytes`. Watches follow, or end.
void settle_watches(std::uint64_t token, void* start, std::size_t bytes);

/// The size of the System V segment attached at `start`, for its detachment does not say; 0: nothing behind is watched.
std::size_t segment_bytes(const void* start);

/// mprotect (`key` < 0) and pkey_mprotect. 1: done, *result and errno are set. 0: nothing there is watched.
int protect_watched(void* start, std::size_t bytes, int protection, int key, int* result);
/// madvise, likewise: for advice that takes the content away.
int advise_watched(void* start, std::size_t bytes, int advice, int* result);

}  // namespace watcher
