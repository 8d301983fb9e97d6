#include "probes/python/tracked.h"

namespace watcher::python {

bool track_value(PyObject* value, const Tracked& variable) {
  return track_container(value, variable) || track_buffer(value, variable);
}

bool untrack_value(PyObject* value) {
  return untrack_container(value) || untrack_buffer(value);
}

}  // namespace watcher::python
