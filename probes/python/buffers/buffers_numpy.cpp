// Pages of their own for numpy arrays. The array's memory handler is replaced together with its data, or the pages
// could end in numpy's cache of small blocks.
#include <stdlib.h>
#include <string.h>

#include "probes/python/buffers/buffers.h"

namespace watcher::python {
namespace {

constexpr const char* kHandlerName = "mem_handler";
enum NumpyFlag { kContiguous = 0x1, kOwnsData = 0x4, kWriteable = 0x400, kWritesBack = 0x2000 };

/// PyDataMem_Handler, version 1 (numpy 1.22 and later).
struct MemoryHandler {
  char name[127];
  std::uint8_t version;
  void* context;
  void* (*allocate)(void*, std::size_t);
  void* (*allocate_zeroed)(void*, std::size_t, std::size_t);
  void* (*reallocate)(void*, void*, std::size_t);
  void (*release)(void*, void*, std::size_t);
};

// libc's functions: the shim's interposers recognise our pages.
void* allocate(void*, std::size_t bytes) {
  return malloc(bytes);
}
void* allocate_zeroed(void*, std::size_t count, std::size_t bytes) {
  return calloc(count, bytes);
}
void* reallocate(void*, void* pointer, std::size_t bytes) {
  return realloc(pointer, bytes);
}
void release(void*, void* pointer, std::size_t) {
  free(pointer);
}

constinit MemoryHandler handler{"watcher", 1, nullptr, allocate, allocate_zeroed, reallocate, release};

/// The owned capsule that numpy keeps a reference to. One for ever.
PyObject* handler_capsule() {
  static PyObject* capsule = nullptr;
  if (capsule == nullptr) capsule = PyCapsule_New(&handler, kHandlerName, nullptr);
  if (capsule == nullptr) PyErr_Clear();
  return capsule;
}

ssize_t reference_count(const PyObject* object) {
  return compat.minor >= 12 ? static_cast<ssize_t>(static_cast<std::uint32_t>(object->refcount)) : object->refcount;
}

MemoryHandler* old_handler(PyObject* object) {
  PyObject* capsule = field<PyObject*>(object, kNumpyHandler);
  if (capsule == nullptr || PyCapsule_IsValid(capsule, kHandlerName) == 0) return nullptr;
  auto* old = static_cast<MemoryHandler*>(PyCapsule_GetPointer(capsule, kHandlerName));
  return old->version == 1 ? old : nullptr;
}

bool alone(PyObject* object, int references, const BufferMemory& memory) {
  const PyObject* base = base_named(object->type, "numpy.ndarray");
  if (base == nullptr || field<ssize_t>(base, kTypeBasicSize) < kNumpyHandler + 8) return false;
  const int flags = field<int>(object, kNumpyFlags);
  const bool plain =
      (flags & (kContiguous | kOwnsData | kWriteable | kWritesBack)) == (kContiguous | kOwnsData | kWriteable);
  return plain && field(object, kNumpyBase) == nullptr && field(object, kNumpyData) == memory.base &&
         memory.bytes != 0 && references > 0 && reference_count(object) <= references;
}

}  // namespace

bool move_numpy_array(PyObject* object, int references, BufferMemory* memory) {
  if (memory->bytes != 0 && field(object, kNumpyData) == memory->base && runtime->memory_allocated(memory->base) != 0) {
    memory->own_pages = true;  // moved at an earlier watch
    return true;
  }
  if (!alone(object, references, *memory)) return false;
  MemoryHandler* old = old_handler(object);
  PyObject* capsule = handler_capsule();
  void* pages = old != nullptr && capsule != nullptr ? runtime->memory_allocate(memory->bytes) : nullptr;
  if (pages == nullptr) return false;
  memcpy(pages, memory->base, memory->bytes);
  PyObject* old_capsule = field<PyObject*>(object, kNumpyHandler);
  Py_IncRef(capsule);
  field_ref<PyObject*>(object, kNumpyHandler) = capsule;
  field_ref<void*>(object, kNumpyData) = pages;
  old->release(old->context, memory->base, memory->bytes);
  Py_DecRef(old_capsule);
  memory->base = static_cast<std::byte*>(pages);
  memory->own_pages = true;
  return true;
}

}  // namespace watcher::python
