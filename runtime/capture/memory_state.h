// What memory_start was given and chose; constant afterwards, but for a fallback to the inline engine and for `paused`,
// which belongs to whoever holds stores off.
//
// Read in any context.
#pragma once

#include <atomic>

#include "runtime/capture/engines/engine.h"
#include "runtime/capture/memory_watch.h"

namespace watcher {

struct MemoryState {
  EventRing* ring = nullptr;
  PlaceOfWriter place = nullptr;
  PlaceOfWriter stack = nullptr;             // watcher_probe::stack
  std::atomic<PlaceOfWriter> span{nullptr};  // watcher_runtime::memory_spans: set while events come
  const Engine* arena_engine = nullptr;      // for memory that is mapped twice; everything else is inline
  std::uint32_t callers = 0;                 // of the storing function, told with each store
  bool paused = false;                       // pages are placed, not armed
};

extern constinit MemoryState memory_state;

}  // namespace watcher
