// The session as the probe sees it: its ring, and what events refer to. Any thread, outside signal handlers unless
// stated otherwise.
#pragma once

#include <cstdint>
#include <string_view>

#include "probes/probe_abi.h"
#include "runtime/queue/event_ring.h"
#include "runtime/queue/event_stack.h"

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

struct ThreadState {
  std::uint32_t id;
  std::uint32_t epoch;
  ContextBlob parts;
  DictionaryRef context;
  std::uint64_t task;  // the asynchronous call that runs
  std::uint64_t told_task;
  SpanBlob span;  // OpenTelemetry's, in which it runs
};
// initial-exec: a few bytes of the static TLS surplus, and no allocation on first use in a signal handler
extern __attribute__((tls_model("initial-exec"))) constinit thread_local ThreadState thread_state;
extern constinit std::uint32_t fork_epoch;
std::uint32_t renew_thread_id();
void name_task();

/// gettid(), cached. Signal handlers too.
inline std::uint32_t thread_id() {
  return thread_state.epoch == fork_epoch ? thread_state.id : renew_thread_id();
}
/// ContextBlob of what the calling thread does; 0 when nothing is tracked. Signal handlers too.
inline DictionaryRef thread_context() {
  if (thread_state.task != thread_state.told_task && ring) [[unlikely]]
    name_task();
  return thread_state.context;
}

/// What an event is about.
struct Subject {
  DictionaryRef variable = 0;
  DictionaryRef place = 0;
  Scope scope = Scope::kUnknown;
  bool exact = true;
};
/// Room for an event of this moment, filled in but for its values, of `payload_bytes`: a multiple of 8. Empty: it is
/// not to be recorded.
inline Claim claim_event(Op op, const Subject& subject, std::uint32_t payload_bytes) {
  const DictionaryRef context = thread_context();
  const std::uint32_t span_bytes = stack_bytes(0, thread_state.span);
  const Claim claim = ring.claim(payload_bytes + span_bytes);
  if (!claim) return claim;
  EventHead& head = *claim.head;
  head.tsc = ring.now();
  head.variable = subject.variable;
  head.place = subject.place;
  head.context = context;
  head.thread_id = thread_id();
  head.op = op;
  head.flags = static_cast<std::uint8_t>(static_cast<std::uint8_t>(subject.scope) | (subject.exact ? 0 : kInexact));
  head.coalesced = 0;
  if (span_bytes != 0) [[unlikely]] {
    head.flags |= kHasStack;
    put_stack(claim.payload() + payload_bytes, nullptr, 0, thread_state.span);
  }
  return claim;
}

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
