// The session as the probe sees it: its ring, and what events refer to. Any thread, outside signal handlers unless
// stated otherwise.
#pragma once

#include <cstdint>
#include <string_view>

#include "probes/probe_abi.h"
#include "runtime/queue/event_ring.h"

namespace watcher::node {

/// The runtime's table; set by the attach call.
extern constinit const watcher_runtime* runtime;
/// The session's ring; empty until a session runs. One address for ever.
extern constinit EventRing ring;

/// Starts the session if it is not running. False: it cannot run (logged once); nothing is recorded then.
bool ensure_session();

/// Signal handlers too. A negative line is one that may be wrong: the event says so.
DictionaryRef intern_place(std::string_view function, std::string_view file, int line);

/// What a watch() call or a rule says of a variable besides its name.
struct VariableTerms {
  std::string_view format;  // PEP 3118, of one element; empty: no memory
  std::uint32_t item_bytes = 0;
  std::uint32_t mutation_depth = 0;  // 0: as configured
  std::string_view when;
  double sample = 1;
  std::uint32_t max_per_second = 0;
};
/// `owner` makes the id, so that it is the same in every process and run.
DictionaryRef intern_variable(std::string_view name, std::string_view owner, Scope scope, const VariableTerms& terms);

/// gettid(), cached. Signal handlers too.
std::uint32_t thread_id();
/// ContextBlob of what the calling thread does; 0 when nothing is tracked. Signal handlers too.
DictionaryRef thread_context();
/// Its parts, each 0 until it is set: the thread's name, the asynchronous task, the SQL statement.
ContextBlob& context_parts();
/// OpenTelemetry's span that the calling thread runs in; written by its JavaScript. Signal handlers too.
SpanBlob& thread_span();
/// To be called when the parts have changed.
void renew_thread_context();
/// The asynchronous call that runs from now on, by node's number; 0: none. Its name is made when it has an event.
void set_task(std::uint64_t id);
/// The numbers are the parent's.
void forget_threads();

}  // namespace watcher::node
