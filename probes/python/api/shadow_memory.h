// The page behind a WatchProxy: the canonical bytes of its value, guarded by the capture engine. The embedded package's
// ShadowMemory is made of these functions.
//
// Threads: the GIL is held.
#pragma once

#include <string_view>

#include "probes/python/api/watch_request.h"

namespace watcher::python {

/// _shadow_open(value, name, …as watch()), _shadow_store(handle, old, new), _shadow_read, _shadow_memory,
/// _shadow_close.
extern PyMethodDef shadow_functions[];

/// A WatchProxy of the value; null with an exception set.
PyObject* make_proxy(PyObject* value, const WatchRequest* request);
/// (proxy, its ShadowMemory).
PyObject* make_proxy_block(PyObject* value, const WatchRequest* request);
bool is_proxy(const PyObject* object);
/// None; null with an exception set.
PyObject* close_proxy(PyObject* proxy);
/// Ends the watch of those that events call so.
void unwatch_shadows(std::string_view name);

}  // namespace watcher::python
