// Watches over the handler process of a ring's writer (uffd engine): while it is stopped or stuck, stores of the host
// wait. Killed, it lets them go, and its guard re-arms the pages by another engine: what is stored in between is not
// told, so one that only waits for its turn on a processor is left alone.
//
// One thread, the collector's.
#pragma once

#include <cstdint>

#include "runtime/queue/ring_header.h"

namespace watcher {

class HandlerWatchdog {
 public:
  /// A look now and then, cheap when nothing is due.
  void look(const RingHeader& header, std::uint32_t writer);

 private:
  std::uint64_t next_look_ns_ = 0;
  std::uint64_t working_since_ns_ = 0;  // what it worked on at the last look; 0: nothing
  std::uint64_t first_seen_ns_ = 0;     // when that was seen first, by our clock, and since when it does not run
  std::uint32_t first_ticks_ = 0;       // of processor time it had used then
};

}  // namespace watcher
