// Which run a process belongs to when watcher-exec did not say: that of the nearest ancestor that records into the same
// directory.
#pragma once

#include <cstdint>
#include <string>

namespace watcher {

struct RunIdentity {
  std::uint64_t run_id = 0;
  std::uint32_t collector_pid = 0;
};

/// As in the RingHeader of the nearest living ancestor with a ring in `output`; zeros when there is none.
RunIdentity run_of_ancestor(const std::string& output);

}  // namespace watcher
