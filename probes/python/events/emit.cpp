#include "probes/python/events/emit.h"

#include <string.h>
#include <sys/syscall.h>

#include "probes/python/api/debugger.h"
#include "probes/python/api/pause.h"
#include "probes/python/context/frames.h"
#include "probes/python/context/spans.h"
#include "probes/python/interpreter/compat.h"
#include "probes/python/names/rules.h"
#include "runtime/base/raw_syscall.h"
#include "runtime/queue/short_step.h"
#include "runtime/queue/variable_id.h"

namespace watcher::python {

constinit const watcher_runtime* runtime = nullptr;
constinit EventRing ring;
constinit std::uint32_t attention = 0;
constinit thread_local std::uint32_t known_thread_id = 0;

namespace {

std::uint32_t payload_of(const Value& value) {
  return is_inline(value.kind) ? 0 : static_cast<std::uint32_t>(sizeof(ValueBlob)) + padded8(value.stored);
}

std::byte* put_value(std::byte* at, const Value& value) {
  if (is_inline(value.kind)) return at;
  const ValueBlob blob{.stored = value.stored, .type_name = value.type_name, .total = value.total};
  memcpy(at, &blob, sizeof blob);
  if (value.stored != 0) memcpy(at + sizeof blob, value.data, value.stored);
  return at + sizeof blob + padded8(value.stored);
}

std::uint32_t bytes_of(const PathStep& step) {
  return static_cast<std::uint32_t>(sizeof(PathElement)) + (step.kind == PathKind::kText ? step.text_bytes : 0);
}

std::uint32_t bytes_of(std::span<const PathStep> path) {
  std::uint32_t bytes = 0;
  for (const PathStep& step : path) bytes += bytes_of(step);
  return bytes;
}

std::byte* put_path(std::byte* at, std::span<const PathStep> path) {
  const PathHeader header{.count = static_cast<std::uint32_t>(path.size()), .bytes = bytes_of(path)};
  memcpy(at, &header, sizeof header);
  std::byte* out = at + sizeof header;
  for (const PathStep& step : path) {
    PathElement element{};
    element.kind = step.kind;
    element.value = step.kind == PathKind::kText ? step.text_bytes : step.index;
    element.extra = step.end;
    memcpy(out, &element, sizeof element);
    if (step.kind == PathKind::kText) memcpy(out + sizeof element, step.text, step.text_bytes);
    out += bytes_of(step);
  }
  return at + padded8(static_cast<std::uint32_t>(sizeof header) + header.bytes);
}

/// Does the path fit into the head?
bool shorten(const PathStep& step, std::uint64_t* word) {
  if (step.kind == PathKind::kIndex && is_short_index(step.index)) return *word = short_step(step.index), true;
  if (step.kind == PathKind::kText && step.name != 0) return *word = short_step(step.name), true;
  return false;
}

}  // namespace

bool ensure_session() {
  if (ring) return true;
  static bool refused = false;
  if (refused || runtime->start() != 0) {
    refused = true;
    return false;
  }
  ring = EventRing(static_cast<std::byte*>(runtime->ring()));
  if (ring.header()->clock != Clock::kTsc) attention |= kSlowClock;
  // the probe is an object of its own, with a copy of the variable
  EventRing::revive_collector = [](RingHeader*) { runtime->revive_collector(); };
  if (spans_pending) find_spans();
  return true;
}

DictionaryRef intern_place(std::string_view function, std::string_view file, int line) {
  Dictionary& dictionary = ring.dictionary();
  const PlaceBlob place{.function = dictionary.intern(function), .file = dictionary.intern(file), .line = line};
  return dictionary.intern(BlobKind::kPlace, place);
}

namespace {

/// `owner`: see intern_variable.
const watcher_rule* rule_of(std::string_view name, std::string_view owner, Scope scope) {
  if (runtime->has_rules() == 0) return nullptr;
  const std::size_t end_of_file = owner.find('\n');
  const std::string_view function = end_of_file == owner.npos ? std::string_view() : owner.substr(end_of_file + 1);
  return rules_for(owner.substr(0, end_of_file))->match(name, function, scope == Scope::kGlobal);
}

/// Which changes of the variable count.
DictionaryRef intern_filter(const watcher_rule* rule, std::string_view when) {
  const double sample = rule != nullptr ? rule->sample : 1;
  const std::uint32_t limit = rule != nullptr ? rule->max_per_second : 0;
  if (when.empty() && sample == 1 && limit == 0) return 0;
  const FilterBlob filter{
      .when = when.empty() ? 0 : ring.dictionary().intern(when), .max_per_second = limit, .sample = sample};
  return ring.dictionary().intern(BlobKind::kFilter, filter);
}

bool option_is_true(const char* name) {
  const char* value = runtime->option(name);
  return value != nullptr && value[0] == 't';
}

/// Threads and statements are looked up for all variables once one of them asks; the others' events do without.
std::uint32_t flags_of(const WatchRequest* request) {
  static const std::uint32_t usual =
      (option_is_true("track_threads") ? 0u : kHidesThreads) | (option_is_true("track_sql") ? 0u : kHidesSql);
  if (request == nullptr) return usual;
  std::uint32_t flags = usual & ~((request->threads ? kHidesThreads : 0u) | (request->sql ? kHidesSql : 0u));
  if (request->scoped) flags |= kScopeGiven | static_cast<std::uint32_t>(request->scope) * kGivenScope;
  return flags;
}

}  // namespace

DictionaryRef intern_variable(std::string_view name, std::string_view owner, Scope scope, const WatchRequest* request,
                              std::string_view format, std::uint32_t item_bytes) {
  Dictionary& dictionary = ring.dictionary();
  const watcher_rule* rule = rule_of(name, owner, scope);
  std::string_view when = rule != nullptr && rule->when != nullptr ? rule->when : "";
  if (request != nullptr && !request->when.empty()) when = request->when;
  const VariableBlob variable{.id = variable_id(name, owner, scope),
                              .name = dictionary.intern(name),
                              .format = format.empty() ? 0 : dictionary.intern(format),
                              .item_size = item_bytes,
                              .mutation_depth = request != nullptr ? request->mutation_depth : 0,
                              .filter = intern_filter(rule, when),
                              .flags = flags_of(request)};
  const DictionaryRef ref = dictionary.intern(BlobKind::kVariable, variable);
  if ((request != nullptr && request->breaks) || (rule != nullptr && rule->breaks != 0)) break_at(ref, when);
  return ref;
}

DictionaryRef intern_path(std::span<const PathStep> path) {
  std::string bytes(padded8(static_cast<std::uint32_t>(sizeof(PathHeader)) + bytes_of(path)), 0);
  put_path(reinterpret_cast<std::byte*>(bytes.data()), path);
  return ring.dictionary().intern(bytes);
}

DictionaryRef intern_part(DictionaryRef variable, DictionaryRef path, std::string_view format,
                          std::uint32_t item_bytes) {
  VariableBlob blob{};
  if (!ring.dictionary().read(BlobKind::kVariable, variable, &blob)) return 0;
  blob.path = path;
  blob.format = ring.dictionary().intern(format);
  blob.item_size = item_bytes;
  return ring.dictionary().intern(BlobKind::kVariable, blob);
}

std::string_view name_of_variable(DictionaryRef variable) {
  VariableBlob blob{};
  const bool known = ring && ring.dictionary().read(BlobKind::kVariable, variable, &blob);
  return known ? ring.dictionary().string(blob.name) : std::string_view();
}

std::string_view short_type_name(PyObject* type) {
  const char* name = type_name(type);
  const char* dot = strrchr(name, '.');
  return dot != nullptr ? dot + 1 : name;
}

std::uint32_t thread_id() {
  if (known_thread_id == 0) {
    known_thread_id = static_cast<std::uint32_t>(raw_syscall(SYS_gettid));
    learn_own_thread_state();
  }
  return known_thread_id;
}

// Of the only thread that the child has.
void forget_thread() {
  known_thread_id = 0;
}

__attribute__((noinline, cold)) void emit_slot_later(Op op, std::uint8_t flags, DictionaryRef variable,
                                                     DictionaryRef place, std::uint64_t step, Word before, Word after) {
  const DictionaryRef context = thread_context();  // may run code of the host: not while a claim is held
  if (const Claim claim = ring.claim(0))
    fill_slot(claim, ring.now(), context, thread_id(), op, flags, variable, place, step, before, after);
}

void emit(Op op, const Subject& subject, std::span<const PathStep> path, const Value& before, const Value& after) {
  if ((attention & kPaused) != 0) [[unlikely]]
    return note_while_paused(op, subject, before, after);
  // may run code of the host's: before anything is looked at that this may change, and while no claim is held
  const DictionaryRef context = thread_context();
  DictionaryRef stack[kMaxStack];
  const std::uint32_t callers = (attention & kStacks) != 0 ? callers_here(stack) : 0;
  std::uint32_t payload = payload_of(before) + payload_of(after);
  std::uint64_t step = 0;
  const bool is_short = path.size() == 1 && shorten(path.front(), &step);
  const bool has_path = !path.empty() && !is_short;
  if (has_path) payload += padded8(static_cast<std::uint32_t>(sizeof(PathHeader)) + bytes_of(path));
  SpanBlob span{};
  if ((attention & kSpans) != 0) span = span_here();
  const std::uint32_t stack_part = stack_bytes(callers, span);
  payload += stack_part;
  const Claim claim = ring.claim(payload);
  if (!claim) return;
  EventHead& head = *claim.head;
  head.tsc = ring.now();
  head.variable = subject.variable;
  head.place = subject.place;
  head.context = context;
  head.thread_id = thread_id();
  head.op = op;
  head.before_kind = before.kind;
  head.after_kind = after.kind;
  head.flags = static_cast<std::uint8_t>(static_cast<std::uint8_t>(subject.scope) | (has_path ? kHasPath : 0) |
                                         (is_short ? kShortPath : 0) | (subject.exact ? 0 : kInexact) |
                                         (stack_part == 0 ? 0 : kHasStack));
  head.before = before.word;
  head.after = after.word;
  head.coalesced = step;
  if (payload != 0) {
    std::byte* at = claim.payload();
    if (has_path) at = put_path(at, path);
    at = put_value(at, before);
    at = put_value(at, after);
    if (stack_part != 0) put_stack(at, stack, callers, span);
  }
  claim.commit();
  if ((attention & kBreaks) != 0) [[unlikely]]
    ask_for_break(op, subject, path, before, after);
}

}  // namespace watcher::python
