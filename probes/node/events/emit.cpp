#include "probes/node/events/emit.h"

#include <sys/syscall.h>

#include <atomic>

#include "runtime/base/raw_syscall.h"
#include "runtime/queue/variable_id.h"

namespace watcher::node {

constinit const watcher_runtime* runtime = nullptr;
constinit EventRing ring;
constinit thread_local ThreadState thread_state{};
constinit std::uint32_t fork_epoch = 1;

namespace {

DictionaryRef intern_filter(const VariableTerms& terms) {
  if (terms.when.empty() && terms.sample == 1 && terms.max_per_second == 0) return 0;
  const FilterBlob filter{.when = terms.when.empty() ? 0 : ring.dictionary().intern(terms.when),
                          .max_per_second = terms.max_per_second,
                          .sample = terms.sample};
  return ring.dictionary().intern(BlobKind::kFilter, filter);
}

}  // namespace

bool ensure_session() {
  if (ring) return true;
  static bool refused = false;
  if (refused || runtime->start() != 0) {
    refused = true;
    return false;
  }
  // the probe is an object of its own, with a copy of the variable
  EventRing::revive_collector = [](RingHeader*) { runtime->revive_collector(); };
  ring = EventRing(static_cast<std::byte*>(runtime->ring()));
  return true;
}

DictionaryRef intern_place(std::string_view function, std::string_view file, int line) {
  Dictionary& dictionary = ring.dictionary();
  const PlaceBlob place{.function = dictionary.intern(function), .file = dictionary.intern(file), .line = line};
  return dictionary.intern(BlobKind::kPlace, place);
}

DictionaryRef intern_variable(std::string_view name, std::string_view owner, Scope scope, const VariableTerms& terms) {
  Dictionary& dictionary = ring.dictionary();
  const VariableBlob variable{.id = variable_id(name, owner, scope),
                              .name = dictionary.intern(name),
                              .format = terms.format.empty() ? 0 : dictionary.intern(terms.format),
                              .item_size = terms.item_bytes,
                              .mutation_depth = terms.mutation_depth,
                              .filter = intern_filter(terms),
                              .flags = 0};
  return dictionary.intern(BlobKind::kVariable, variable);
}

std::uint32_t renew_thread_id() {
  thread_state.id = static_cast<std::uint32_t>(raw_syscall(SYS_gettid));
  thread_state.epoch = fork_epoch;
  return thread_state.id;
}

/// Each asynchronous call is a task of its own: only those with events get a name, as long as there is room for them.
void name_task() {
  static constinit std::atomic<std::int32_t> names_left{8192};
  thread_state.told_task = thread_state.task;
  thread_state.parts.task = 0;
  if (thread_state.task != 0 && names_left.fetch_sub(1, std::memory_order_relaxed) > 0) {
    char room[32] = "async ";
    std::size_t end = 6;
    std::uint64_t unit = 1;
    while (thread_state.task / unit >= 10) unit *= 10;
    for (; unit != 0; unit /= 10) room[end++] = static_cast<char>('0' + thread_state.task / unit % 10);
    thread_state.parts.task = ring.dictionary().intern({room, end});
  }
  renew_thread_context();
}

void set_task(std::uint64_t id) {
  thread_state.task = id;
}

ContextBlob& context_parts() {
  return thread_state.parts;
}

SpanBlob& thread_span() {
  return thread_state.span;
}

void renew_thread_context() {
  const ContextBlob& parts = thread_state.parts;
  const bool empty = parts.thread_name == 0 && parts.task == 0 && parts.sql == 0;
  thread_state.context = empty || !ring ? 0 : ring.dictionary().intern(BlobKind::kContext, parts);
}

void forget_threads() {
  ++fork_epoch;
}

}  // namespace watcher::node
