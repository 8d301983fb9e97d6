#include "probes/python/tracked.h"

namespace watcher::python {

DictionaryRef track_value(PyObject* value, const Tracked& variable) {
  const DictionaryRef container = track_container(value, variable);
  return container != 0 ? container : track_buffer(value, variable);
}

void untrack_value(PyObject* value, DictionaryRef variable, const void* frame) {
  if (!untrack_container(value, variable, frame)) untrack_buffer(value, variable);
}

bool tracked_state(PyObject* value, DictionaryRef variable, const void* frame, Value* out) {
  return container_state(value, variable, frame, out) || buffer_state(value, variable, out);
}

}  // namespace watcher::python
