// What an object's writable memory is.
#include <string.h>

#include "probes/python/buffers.h"

namespace watcher::python {
namespace {

constexpr int kStrided = kPyBufWritable | kPyBufFormat | kPyBufStrides;

bool shares_buffer_slots(const PyObject* type, const PyObject* base) {
  return field(field(type, kTypeAsBuffer), 0) == field(field(base, kTypeAsBuffer), 0);
}

/// [buf, buf + bytes) that a strided view spans, gaps included.
bool span_of(const PyBuffer& view, BufferMemory* memory) {
  if (view.suboffsets != nullptr || view.len == 0) return false;
  if (view.strides == nullptr) {  // contiguous; ctypes leaves them out even when asked
    memory->base = static_cast<std::byte*>(view.buf);
    memory->bytes = static_cast<std::size_t>(view.len);
    return true;
  }
  ssize_t first = 0, last = view.itemsize;
  for (int i = 0; i < view.ndim; ++i) {
    const ssize_t reach = (view.shape[i] - 1) * view.strides[i];
    (reach < 0 ? first : last) += reach;
  }
  memory->base = static_cast<std::byte*>(view.buf) + first;
  memory->bytes = static_cast<std::size_t>(last - first);
  return true;
}

/// Cells in which the object itself keeps where its memory is and how much of it there is.
void point_at_cells(PyObject* object, BufferKind kind, BufferMemory* memory) {
  auto cell = [&](int offset) { return &field_ref<void*>(object, offset); };
  if (kind == BufferKind::kByteArray && field(object, kByteArrayStart) == memory->base)
    memory->live_start = cell(kByteArrayStart);
  if (kind == BufferKind::kArray && field(object, kArrayItems) == memory->base) memory->live_start = cell(kArrayItems);
  if (kind == BufferKind::kNumpy && field(object, kNumpyData) == memory->base) memory->live_start = cell(kNumpyData);
  if (kind != BufferKind::kByteArray && kind != BufferKind::kArray) return;
  memory->live_size = &field_ref<std::int64_t>(object, 16);
  if (kind == BufferKind::kArray) memory->live_item_bytes = memory->item_bytes;
}

}  // namespace

BufferKind buffer_kind(const PyObject* object) {
  PyObject* type = object->type;
  if (field(type, kTypeAsBuffer) == nullptr || type == &PyBytes_Type || field(field(type, kTypeAsBuffer), 0) == nullptr)
    return BufferKind::kNone;
  struct Known {
    const char* name;
    BufferKind kind;
  };
  constexpr Known known[] = {{"bytearray", BufferKind::kByteArray},   {"array.array", BufferKind::kArray},
                             {"numpy.ndarray", BufferKind::kNumpy},   {"mmap.mmap", BufferKind::kMemoryMap},
                             {"memoryview", BufferKind::kMemoryView}, {"_ctypes._CData", BufferKind::kOther}};
  for (const Known& candidate : known) {
    const PyObject* base = base_named(type, candidate.name);
    if (base != nullptr) {
      const bool unchanged = candidate.kind == BufferKind::kOther || shares_buffer_slots(type, base);
      return unchanged ? candidate.kind : BufferKind::kNone;
    }
  }
  // From 3.12 on a class can have a __buffer__ written in Python.
  return compat.minor >= 12 && has_flag(type, kHeapType) ? BufferKind::kNone : BufferKind::kOther;
}

bool read_buffer(PyObject* object, BufferKind kind, BufferMemory* memory) {
  PyBuffer view{};
  if (PyObject_GetBuffer(object, &view, kStrided) != 0) {
    PyErr_Clear();
    return false;
  }
  const bool growing = kind == BufferKind::kByteArray || kind == BufferKind::kArray;
  memory->format = view.format != nullptr ? view.format : "B";
  memory->item_bytes = static_cast<std::uint32_t>(view.itemsize);
  const bool objects = memory->format.find('O') != memory->format.npos;  // references, not values
  const bool usable = !objects && view.itemsize > 0 && (span_of(view, memory) || (growing && view.len == 0));
  PyBuffer_Release(&view);
  if (!usable) return false;
  memory->capacity = memory->bytes;
  if (memory->bytes != 0) point_at_cells(object, kind, memory);
  return true;
}

}  // namespace watcher::python
