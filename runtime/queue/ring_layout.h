// Where the parts of a ring file lie; the one computation that writer and reader share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/queue/event_ring.h"

namespace watcher {

inline constexpr std::uint32_t kMinSlots = kPageBytes / kSlotBytes;
inline constexpr std::uint32_t kMaxSlots = 1u << 24;
inline constexpr std::uint64_t kMaxHeapBytes = 1u << 30;

constexpr std::uint64_t padded_to_page(std::uint64_t bytes) {
  return (bytes + kPageBytes - 1) & ~(kPageBytes - 1);
}

struct RingLayout {
  std::uint32_t slot_count;
  std::uint64_t heap_bytes;

  static constexpr std::uint64_t dictionary_offset() { return padded_to_page(sizeof(RingHeader)); }
  static constexpr std::uint64_t heap_offset() { return dictionary_offset() + sizeof(DictionaryHeader); }
  constexpr std::uint64_t slots_offset() const { return padded_to_page(heap_offset() + heap_bytes); }
  constexpr std::uint64_t slots_bytes() const { return std::uint64_t{slot_count} * kSlotBytes; }
  constexpr std::uint64_t file_bytes() const { return slots_offset() + slots_bytes(); }
  constexpr std::uint64_t mapping_bytes() const { return file_bytes() + slots_bytes(); }

  /// Power of two of slots that fill whole pages, heap of whole units: what ring_create makes and readers accept.
  constexpr bool valid() const {
    return slot_count >= kMinSlots && slot_count <= kMaxSlots && (slot_count & (slot_count - 1)) == 0 &&
           heap_bytes <= kMaxHeapBytes && heap_bytes % 8 == 0;
  }
};

}  // namespace watcher
