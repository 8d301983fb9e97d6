// Buffers inside watched objects: `pipeline.frames["raw"][3] = 7` is a change of `pipeline`.
//
// Their stores are found in fault handlers, where nobody can look for a path. So the path is part of what the memory is
// registered as, and is found anew after each change of an object above it that may have moved it.
//
// Threads: the GIL is held.
#pragma once

#include "probes/python/objects/object_graph.h"

namespace watcher::python {

bool is_buffer_part(PyObject* object);
/// Its entry in the table of watched objects; null: no memory. It is watched once it has a path.
WatchedContainer* add_buffer_part(PyObject* buffer);
/// No watched object holds it any more; it may be dead.
void release_buffer_part(PyObject* buffer);

extern constinit std::size_t buffer_part_count;
inline bool has_buffer_parts() {
  return buffer_part_count != 0;
}
/// `object` was changed, got a variable or lost one: paths through it may be others.
void settle_buffer_parts(const PyObject* object);
/// `object` became part of another one.
void note_buffers_below(const PyObject* object);

/// While objects are being taken in. At the end of the outermost one, buffers found meanwhile are watched.
class BufferPartsBelow {
 public:
  BufferPartsBelow();
  ~BufferPartsBelow();
  BufferPartsBelow(const BufferPartsBelow&) = delete;
  BufferPartsBelow& operator=(const BufferPartsBelow&) = delete;
};

}  // namespace watcher::python
