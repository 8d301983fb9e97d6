// A path of one step in one word of the event's head (kShortPath), so that the commonest changes fit into a slot: bit 0
// says whether the rest is the dictionary's reference to a text, or an index.
#pragma once

#include <cstdint>

#include "runtime/queue/event.h"

namespace watcher {

constexpr bool is_short_index(std::int64_t index) {
  return index >= -(std::int64_t{1} << 62) && index < std::int64_t{1} << 62;
}
constexpr std::uint64_t short_step(std::int64_t index) {
  return static_cast<std::uint64_t>(index) << 1;
}
constexpr std::uint64_t short_step(DictionaryRef text) {
  return std::uint64_t{text} << 1 | 1;
}

}  // namespace watcher
