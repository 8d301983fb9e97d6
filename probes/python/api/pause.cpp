#include "probes/python/api/pause.h"

#include <errno.h>
#include <string.h>

#include <unordered_map>

#include "probes/python/containers/containers_table.h"

namespace watcher::python {
namespace {

struct Held {
  Shadow before;
  Shadow after;
  Scope scope = Scope::kUnknown;
  bool known = false;  // `before` is
  bool changed = false;
};
using HeldValues = std::unordered_map<DictionaryRef, Held>;
HeldValues& held_values() {
  static auto* values = new HeldValues;  // process-lifetime
  return *values;
}

/// Visits each container that a living variable holds.
template <class Visit>
void for_each_held_container(Visit visit) {
  watched_containers.for_each([&](const WatchedContainer& watched) {
    for (std::uint32_t i = 0; i < watched.count; ++i)
      if (watched.holders[i].alive()) visit(watched.object, watched.holders[i]);
  });
}

bool is_binding(Op op) {
  return op == Op::kStore || op == Op::kDelete || op == Op::kInit;
}

/// As far as both were kept.
bool same(const Value& a, const Value& b) {
  if (a.kind != b.kind || a.type_name != b.type_name) return false;
  if (is_inline(a.kind)) return a.word == b.word;
  return a.total == b.total && a.stored == b.stored && a.total == a.stored && memcmp(a.data, b.data, a.stored) == 0;
}

void tell(DictionaryRef variable, const Held& held) {
  if (!held.changed || same(held.before.value(), held.after.value())) return;
  emit(Op::kResumed, {.variable = variable, .place = 0, .scope = held.scope, .exact = false}, nullptr,
       held.before.value(), held.after.value());
}

}  // namespace

int pause_recording() {
  if ((attention & kPaused) != 0) return 0;
  if (!ensure_session()) return 0;
  const int error = runtime->memory_pause();
  if (error != 0 && error != EALREADY) return error;
  for_each_held_container([](PyObject* object, const Holder& holder) {
    Held& held = held_values()[holder.variable];
    held.before.assign(encode_repr(object, scratch_before));
    held.known = true;
  });
  attention |= kPaused;
  return 0;
}

void note_while_paused(Op op, const Subject& subject, const Value& before, const Value& after) {
  Held& held = held_values()[subject.variable];
  held.scope = subject.scope;
  held.changed = held.changed || op != Op::kInit;
  if (!is_binding(op)) return;
  if (!held.known) held.before.assign(op == Op::kInit ? after : before);
  held.known = true;
  held.after.assign(after);
}

int resume_recording() {
  if ((attention & kPaused) == 0) return 0;
  attention &= ~kPaused;
  for_each_held_container([](PyObject* object, const Holder& holder) {
    const auto found = held_values().find(holder.variable);
    if (found != held_values().end()) found->second.after.assign(encode_repr(object, scratch_after));
  });
  for (const auto& [variable, held] : held_values()) tell(variable, held);
  held_values().clear();
  const int error = runtime->memory_resume();
  return error == EALREADY ? 0 : error;
}

}  // namespace watcher::python
