// Buffers watched through their pages: what an object's memory is, whether it can get pages of its own, and how the end
// of that memory becomes known.
//
// No buffer export is held while an object is watched: bytearray.append and the like would fail with it.
//
// Threads: the GIL is held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "probes/python/events/emit.h"
#include "probes/python/interpreter/layout.h"
#include "probes/python/interpreter/ref.h"

namespace watcher::python {

/// An object's writable memory.
struct BufferMemory {
  std::byte* base = nullptr;
  std::size_t bytes = 0;     // of the variable
  std::size_t capacity = 0;  // that may become part of it
  std::string format;        // PEP 3118, of one element; in front of it array_layout.h's
  std::uint32_t item_bytes = 1;
  std::uint32_t unit = 1;  // captured ranges are widened to whole ones
  const std::int64_t* live_size = nullptr;
  void* const* live_start = nullptr;
  std::int64_t live_item_bytes = 1;
  bool own_pages = false;  // then free and realloc tell the runtime what becomes of it
  Ref kept;                // what the memory lives as long as, where that is not the object
};

enum class BufferKind { kNone, kByteArray, kArray, kNumpy, kMemoryMap, kMemoryView, kLent, kOther };

/// What kind of buffer the object is, by its type alone. kNone: none, or asking for it would run code of the host's.
BufferKind buffer_kind(const PyObject* object);
/// Has it memory to hand out by another protocol? `asked_for`: by watch(), so code of its class may run; else only that
/// of numpy, pandas and torch which changes nothing.
bool lends_memory(PyObject* object, bool asked_for);

/// Asks the object for its memory and gives the export back at once. False: read-only, or not plain memory.
bool read_buffer(PyObject* object, BufferKind kind, BufferMemory* memory);
bool read_lent_memory(PyObject* object, BufferMemory* memory);

/// Gives the memory pages of its own where nobody else can know its address; `references` are those the caller accounts
/// for, 0 when it cannot tell. On failure everything is as it was.
void move_to_own_pages(PyObject* object, BufferKind kind, int references, BufferMemory* memory);
bool move_numpy_array(PyObject* object, int references, BufferMemory* memory);
/// False under debugging allocators and tracemalloc: they keep books about each block.
bool allocator_lets_go();

/// Called before the object's memory goes: `end(object)`. Null when there is no way to learn it.
using EndOfBuffer = void (*)(PyObject* object);
struct LifeLine {
  PyObject* weak_reference = nullptr;  // owned; null for kinds whose type tells us
  bool tied = false;
};
LifeLine tie_life_line(PyObject* object, BufferKind kind, EndOfBuffer end);

}  // namespace watcher::python
