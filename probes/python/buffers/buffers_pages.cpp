// Pages of their own for bytearray and array.array: the object's pointer is led to them, sizes stay as they were. What
// the interpreter then frees or reallocates is no block of its allocator, so it goes to libc's functions, and there to
// us.
#include <string.h>

#include "probes/python/buffers/buffers.h"

namespace watcher::python {
namespace {

constexpr unsigned kAnyDomain = 0x57617463;
constexpr int kNotTracing = -2;

/// New pages with the content of the old memory; null when there are none to be had.
std::byte* copy_to_pages(const void* from, std::size_t bytes, std::size_t room, BufferMemory* memory) {
  auto* pages = static_cast<std::byte*>(runtime->memory_allocate(room != 0 ? room : 1));
  if (pages == nullptr) return nullptr;
  if (bytes != 0) memcpy(pages, from, bytes);
  memory->base = pages;
  memory->capacity = runtime->memory_allocated(pages);
  memory->own_pages = true;
  return pages;
}

bool lies_on_own_pages(const void* allocation, BufferMemory* memory) {
  const std::size_t bytes = allocation != nullptr ? runtime->memory_allocated(allocation) : 0;
  if (bytes == 0) return false;
  memory->base = static_cast<std::byte*>(const_cast<void*>(allocation));
  memory->capacity = bytes;
  memory->own_pages = true;
  return true;
}

void point_at(PyObject* object, int start, BufferMemory* memory) {
  memory->live_start = &field_ref<void*>(object, start);
  memory->live_size = &field_ref<std::int64_t>(object, 16);
}

void move_byte_array(PyObject* object, BufferMemory* memory) {
  void* old = field(object, kByteArrayBytes);
  if (!lies_on_own_pages(old, memory)) {
    const auto size = static_cast<std::size_t>(size_of(object));
    const auto allocated = static_cast<std::size_t>(field<ssize_t>(object, kByteArrayCapacity));
    if (field<int>(object, kByteArrayExports) != 0 || (old != nullptr && allocated <= size)) return;
    // one byte behind the last is the interpreter's terminator
    std::byte* pages = copy_to_pages(field(object, kByteArrayStart), old != nullptr ? size + 1 : 0, allocated, memory);
    if (pages == nullptr) return;
    field_ref<void*>(object, kByteArrayBytes) = pages;
    field_ref<void*>(object, kByteArrayStart) = pages;
    compat.minor >= 13 ? PyMem_Free(old) : PyObject_Free(old);
  }
  point_at(object, kByteArrayStart, memory);
}

void move_array(PyObject* object, BufferMemory* memory) {
  void* old = field(object, kArrayItems);
  if (!lies_on_own_pages(old, memory)) {
    const std::size_t bytes = static_cast<std::size_t>(size_of(object)) * memory->item_bytes;
    const std::size_t allocated = static_cast<std::size_t>(field<ssize_t>(object, kArrayCapacity)) * memory->item_bytes;
    const bool as_known = old == nullptr || (old == memory->base && bytes == memory->bytes) || bytes == 0;
    if (!as_known || allocated < bytes || field<int>(object, kArrayExports) != 0) return;
    std::byte* pages = copy_to_pages(old, bytes, allocated, memory);
    if (pages == nullptr) return;
    field_ref<void*>(object, kArrayItems) = pages;
    PyMem_Free(old);
  }
  point_at(object, kArrayItems, memory);
  memory->live_item_bytes = memory->item_bytes;
}

}  // namespace

bool allocator_lets_go() {
  const char* name = _PyMem_GetCurrentAllocatorName != nullptr ? _PyMem_GetCurrentAllocatorName() : nullptr;
  return name != nullptr && strstr(name, "debug") == nullptr && PyTraceMalloc_Untrack(kAnyDomain, 0) == kNotTracing;
}

void move_to_own_pages(PyObject* object, BufferKind kind, int references, BufferMemory* memory) {
  if (!allocator_lets_go()) return;
  if (kind == BufferKind::kByteArray) move_byte_array(object, memory);
  if (kind == BufferKind::kArray) move_array(object, memory);
  if (kind == BufferKind::kNumpy) move_numpy_array(object, references, memory);
}

}  // namespace watcher::python
