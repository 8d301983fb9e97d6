#include "probes/python/buffers/array_layout.h"

#include <numeric>

#include "probes/python/buffers/buffers.h"

namespace watcher::python {
namespace {

void append_list(const std::int64_t* numbers, int count, std::string* text) {
  for (int i = 0; i < count; ++i) {
    if (i != 0) text->push_back(',');
    text->append(std::to_string(numbers[i]));
  }
}

std::string layout_text(const ArrayShape& shape) {
  std::string text(1, '{');
  append_list(shape.lengths, shape.dimensions, &text);
  text.push_back('|');
  append_list(shape.strides, shape.dimensions, &text);
  text.push_back('}');
  return text;
}

/// What captured ranges are widened to, so that they hold whole elements. Records are told by the fields stored to.
std::uint32_t unit_of(const ArrayShape& shape, const BufferMemory& memory) {
  std::int64_t unit = memory.format.find('T') == memory.format.npos ? memory.item_bytes : 1;
  for (int i = 0; i < shape.dimensions; ++i)
    if (shape.lengths[i] > 1) unit = std::gcd(unit, shape.strides[i]);
  return static_cast<std::uint32_t>(unit);
}

}  // namespace

void ArrayShape::set_contiguous_strides(std::int64_t item_bytes) {
  for (int i = dimensions; i-- > 0; item_bytes *= lengths[i]) strides[i] = item_bytes;
}

bool describe_array(void* first_element, const ArrayShape& shape, BufferMemory* memory) {
  std::int64_t first = 0, end = memory->item_bytes;
  for (int i = 0; i < shape.dimensions; ++i) {
    if (shape.lengths[i] == 0) return false;
    const std::int64_t reach = (shape.lengths[i] - 1) * shape.strides[i];
    (reach < 0 ? first : end) += reach;
  }
  memory->base = static_cast<std::byte*>(first_element) + first;
  memory->bytes = memory->capacity = static_cast<std::size_t>(end - first);
  memory->unit = unit_of(shape, *memory);
  const bool plain = shape.dimensions == 0 || (shape.dimensions == 1 && shape.strides[0] == memory->item_bytes);
  if (!plain) memory->format.insert(0, layout_text(shape));
  return true;
}

}  // namespace watcher::python
