// What an object's writable memory is.
#include <string.h>

#include "probes/python/buffers/array_layout.h"
#include "probes/python/buffers/buffers.h"

namespace watcher::python {
namespace {

constexpr int kStrided = kPyBufWritable | kPyBufFormat | kPyBufStrides;

bool shares_buffer_slots(const PyObject* type, const PyObject* base) {
  return field(field(type, kTypeAsBuffer), 0) == field(field(base, kTypeAsBuffer), 0);
}

/// False: there is no element, or it is behind a pointer of its own.
bool describe(const PyBuffer& view, BufferMemory* memory) {
  if (view.suboffsets != nullptr || view.len == 0 || view.ndim > ArrayShape::kMaxDimensions) return false;
  ArrayShape shape;
  shape.dimensions = view.shape != nullptr ? view.ndim : 1;
  for (int i = 0; i < shape.dimensions; ++i)
    shape.lengths[i] = view.shape != nullptr ? view.shape[i] : view.len / view.itemsize;
  shape.set_contiguous_strides(view.itemsize);
  for (int i = 0; i < shape.dimensions && view.strides != nullptr; ++i)  // ctypes leaves them out even when asked
    shape.strides[i] = view.strides[i];
  return describe_array(view.buf, shape, memory);
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

bool is_writeable_numpy(PyObject* object) {
  constexpr int kWriteable = 0x400;
  return (field<int>(object, kNumpyFlags) & kWriteable) != 0;
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
  if (kind == BufferKind::kLent) return read_lent_memory(object, memory);
  if (PyObject_GetBuffer(object, &view, kStrided) != 0) {
    PyErr_Clear();
    return kind == BufferKind::kNumpy && is_writeable_numpy(object) && read_lent_memory(object, memory);
  }
  const bool growing = kind == BufferKind::kByteArray || kind == BufferKind::kArray;
  memory->format = view.format != nullptr ? view.format : "B";
  memory->item_bytes = memory->unit = static_cast<std::uint32_t>(view.itemsize);
  const bool objects = memory->format.find('O') != memory->format.npos;  // references, not values
  const bool usable = !objects && view.itemsize > 0 && (describe(view, memory) || (growing && view.len == 0));
  PyBuffer_Release(&view);
  if (!usable) return false;
  if (memory->bytes != 0) point_at_cells(object, kind, memory);
  return true;
}

}  // namespace watcher::python
