// Which run a process belongs to when watcher-exec did not say: that of the nearest ancestor that records into the same
// directory.
#pragma once

#include <cstdint>
#include <string>

namespace watcher {

/// RingHeader::run_id of the nearest living ancestor with a ring in `output`, 0 when there is none.
std::uint64_t run_of_ancestor(const std::string& output);

}  // namespace watcher
