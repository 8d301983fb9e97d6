// Where the elements of an array lie in its memory, for the event's path: as text in front of the elements' format,
// "{3,4|32,8}d" for a shape and its strides in bytes. None where it follows from the element's size alone: one
// dimension without gaps. Read by runtime/enrich/item_layout.
//
// Threads: the GIL is held.
#pragma once

#include <cstdint>
#include <string>

namespace watcher::python {

struct BufferMemory;

struct ArrayShape {
  static constexpr int kMaxDimensions = 64;  // PyBUF_MAX_NDIM
  int dimensions = 0;
  std::int64_t lengths[kMaxDimensions];
  std::int64_t strides[kMaxDimensions];

  /// In C's order, without gaps.
  void set_contiguous_strides(std::int64_t item_bytes);
};

/// Fills base, bytes and capacity from the first element's address and the shape, unit and format from these and
/// `memory->item_bytes` and `memory->format` (of one element). False: there is no element.
bool describe_array(void* first_element, const ArrayShape& shape, BufferMemory* memory);

}  // namespace watcher::python
