// Writing events into the ring, on behalf of hooks that hold the GIL.
#pragma once

#include <span>
#include <string_view>

#include "probes/probe_abi.h"
#include "probes/python/api/watch_request.h"
#include "probes/python/events/values.h"
#include "runtime/queue/event_ring.h"

namespace watcher::python {

inline constexpr std::size_t kMaxReprBytes = 1024;

/// The runtime's table; set by the attach call.
extern constinit const watcher_runtime* runtime;
/// The session's ring; empty until a session runs. One address for ever.
extern constinit EventRing ring;

/// Starts the session if it is not running. False: it cannot run (logged once); nothing is recorded then.
bool ensure_session();

struct PathStep;

inline DictionaryRef intern(std::string_view text) {
  return ring ? ring.dictionary().intern(text) : 0;
}
DictionaryRef intern_place(std::string_view function, std::string_view file, int line);
/// A path for intern_part.
DictionaryRef intern_path(std::span<const PathStep> path);
/// The variable once more, for memory that is a part of what it holds.
DictionaryRef intern_part(DictionaryRef variable, DictionaryRef path, std::string_view format,
                          std::uint32_t item_bytes);
/// `owner` makes the id: file and function for names, so that it is the same in every process and run. `request` is
/// what the watch() call asked for; null: none, or a rule names it.
DictionaryRef intern_variable(std::string_view name, std::string_view owner, Scope scope, const WatchRequest* request,
                              std::string_view format = {}, std::uint32_t item_bytes = 0);

/// The name that its events show.
std::string_view name_of_variable(DictionaryRef variable);

/// "list" of "builtins.list": what stands as "type" in events.
std::string_view short_type_name(PyObject* type);

/// One step into a container.
struct PathStep {
  PathKind kind = PathKind::kIndex;
  std::int64_t index = 0;
  std::int64_t end = 0;
  const char* text = nullptr;
  std::uint32_t text_bytes = 0;
  DictionaryRef name = 0;  // the same text in the dictionary, where that has it
};

/// Where an event happened and to what.
struct Subject {
  DictionaryRef variable = 0;
  DictionaryRef place = 0;
  Scope scope = Scope::kUnknown;
  bool exact = true;  // false: `before` could not be known for certain, and the event says so
};

/// What has to be thought of at an event; 0, and the quick halves will do. The last two are no matter to a hook.
enum Attention : std::uint32_t { kPaused = 1, kStacks = 2, kBreaks = 4, kSpans = 8, kContexts = 16, kSlowClock = 32 };
inline constexpr std::uint32_t kThoughtOfByHooks = kPaused | kStacks | kBreaks | kSpans;
extern constinit std::uint32_t attention;

/// gettid() of this thread once it is known, else 0.
// initial-exec: a few bytes of the static TLS surplus, and no allocation on first use in a signal handler
extern __attribute__((tls_model("initial-exec"))) constinit thread_local std::uint32_t known_thread_id;
std::uint32_t thread_id();
/// ContextBlob of the running thread, task and SQL statement; 0 when none of them is tracked.
DictionaryRef find_thread_context();
inline DictionaryRef thread_context() {
  return (attention & kContexts) != 0 ? find_thread_context() : 0;
}
/// The context is found out now, and is that of every event until the end of this object's life. Finding it may run
/// code of the host's, which may change and free whatever a caller of emit() would still look at.
class SettledContext {
 public:
  SettledContext();
  SettledContext(const SettledContext&) = delete;
  SettledContext& operator=(const SettledContext&) = delete;
  ~SettledContext();

 private:
  bool outermost_;
};
/// The same in a fault handler of a thread with that state: only what an earlier event or statement found out.
DictionaryRef known_thread_context(void* state);
/// From now on contexts name threads and tasks, or SQL statements.
void track_threads();
void track_statements();
/// After fork the known id is that of the parent.
void forget_thread();

/// The quick half of emit: an event that fits into a slot. `flags`: scope, and kShortPath if `step` is one. What may
/// have to wait is out of line, so that a hook need not save its registers.
void emit_slot_later(Op op, std::uint8_t flags, DictionaryRef variable, DictionaryRef place, std::uint64_t step,
                     Word before, Word after);
inline __attribute__((always_inline)) void fill_slot(const Claim& claim, std::uint64_t now, DictionaryRef context,
                                                     std::uint32_t thread, Op op, std::uint8_t flags,
                                                     DictionaryRef variable, DictionaryRef place, std::uint64_t step,
                                                     Word before, Word after) {
  EventHead& head = *claim.head;
  head.tsc = now;
  head.variable = variable;
  head.place = place;
  head.context = context;
  head.thread_id = thread;
  head.op = op;
  head.before_kind = before.kind;
  head.after_kind = after.kind;
  head.flags = flags;
  head.before = before.bits;
  head.after = after.bits;
  head.coalesced = step;
  claim.commit();
}
inline __attribute__((always_inline)) void emit_slot(Op op, std::uint8_t flags, DictionaryRef variable,
                                                     DictionaryRef place, std::uint64_t step, Word before, Word after) {
  const std::uint32_t thread = known_thread_id;
  const std::uint64_t now = __builtin_ia32_rdtsc();  // behind the exchange it would wait for that
  const Claim claim = attention == 0 && thread != 0 ? ring.claim_at_once() : Claim{};
  if (!claim) [[unlikely]]
    return emit_slot_later(op, flags, variable, place, step, before, after);
  fill_slot(claim, now, 0, thread, op, flags, variable, place, step, before, after);
}

/// Writes one event; an empty path: the whole variable. Blocks or drops as configured when the ring is full.
void emit(Op op, const Subject& subject, std::span<const PathStep> path, const Value& before, const Value& after);
inline void emit(Op op, const Subject& subject, const PathStep* path, const Value& before, const Value& after) {
  emit(op, subject, {path, path != nullptr ? 1u : 0u}, before, after);
}

}  // namespace watcher::python
