// The span of OpenTelemetry that the running code belongs to, read where the API keeps it: a context variable's value,
// a dict, holds the span, whose `_context` holds the numbers. Nothing of the host's is called.
//
// Threads: the GIL is held; span_of_writer is for fault handlers, in threads with and without the GIL.
#pragma once

#include <cstdint>

#include "probes/python/interpreter/python_api.h"
#include "runtime/queue/event.h"

namespace watcher::python {

/// The program imports a module of that name.
void spans_see_import(PyObject* name);

/// OpenTelemetry is being imported, and what is to be read of it is not there yet.
extern constinit bool spans_pending;
/// Looks for it anew, once there is a session.
void find_spans();

/// The running span; `known` is 0 when there is none.
SpanBlob span_here();

/// Shaped like PlaceOfWriter: fills a SpanBlob, and `known`.
std::uint32_t span_of_writer(void* span, std::uint32_t* known);

}  // namespace watcher::python
