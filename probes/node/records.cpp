#include "probes/node/records.h"

#include <string.h>

#include <array>
#include <atomic>
#include <mutex>
#include <string>

#include "probes/node/emit.h"
#include "probes/node/napi_values.h"
#include "probes/node/values.h"

namespace watcher::node {
namespace {

/// A store in transformed code: what it stores to and where it stands.
struct Site {
  DictionaryRef variable;
  DictionaryRef place;
  Scope scope;
};

/// All sites of the process: code transformed in one thread runs in others. Written under the lock, read without; the
/// number of a site is published by being compiled into code.
class SiteTable {
 public:
  std::uint32_t add(const Site& site) {
    const std::lock_guard<std::mutex> guard(lock_);
    const std::uint32_t number = used_;
    if (number >= kChunks * kChunk) return 0;
    std::atomic<Site*>& chunk = chunks_[number / kChunk];
    if (chunk.load(std::memory_order_relaxed) == nullptr) chunk.store(new Site[kChunk], std::memory_order_relaxed);
    chunk.load(std::memory_order_relaxed)[number % kChunk] = site;
    ++used_;
    return number;
  }
  const Site* find(std::uint32_t number) const {
    if (number == 0 || number >= kChunks * kChunk) return nullptr;
    const Site* chunk = chunks_[number / kChunk].load(std::memory_order_relaxed);
    return chunk != nullptr ? &chunk[number % kChunk] : nullptr;
  }

 private:
  static constexpr std::uint32_t kChunk = 1024;
  static constexpr std::uint32_t kChunks = 4096;
  std::mutex lock_;
  std::uint32_t used_ = 1;  // 0 is no site
  std::array<std::atomic<Site*>, kChunks> chunks_{};
};

SiteTable& sites() {
  static auto* table = new SiteTable;  // process-lifetime
  return *table;
}

struct Subject {
  DictionaryRef variable = 0;
  DictionaryRef place = 0;
  Scope scope = Scope::kUnknown;
  bool exact = true;
};

/// A path, encoded as events hold it, without its header.
struct Path {
  std::uint32_t count = 0;
  std::string bytes;

  void add(PathKind kind, std::int64_t value, std::int64_t extra, std::string_view text) {
    PathElement element{};
    element.kind = kind;
    element.value = value;
    element.extra = extra;
    bytes.append(reinterpret_cast<const char*>(&element), sizeof element);
    bytes.append(text);
    ++count;
  }
  std::uint32_t payload_bytes() const {
    return count == 0 ? 0 : padded8(static_cast<std::uint32_t>(sizeof(PathHeader) + bytes.size()));
  }
  std::byte* put(std::byte* at) const {
    if (count == 0) return at;
    const PathHeader header{.count = count, .bytes = static_cast<std::uint32_t>(bytes.size())};
    memcpy(at, &header, sizeof header);
    memcpy(at + sizeof header, bytes.data(), bytes.size());
    return at + payload_bytes();
  }
};

void emit(Op op, const Subject& subject, const Path& path, const Value& before, const Value& after) {
  const SpanBlob& span = thread_span();
  const std::uint32_t stack_part = stack_bytes(0, span);
  const std::uint32_t payload = path.payload_bytes() + before.payload_bytes() + after.payload_bytes() + stack_part;
  const DictionaryRef context = thread_context();
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
  head.flags = static_cast<std::uint8_t>(static_cast<std::uint8_t>(subject.scope) | (path.count == 0 ? 0 : kHasPath) |
                                         (subject.exact ? 0 : kInexact) | (stack_part == 0 ? 0 : kHasStack));
  head.before = before.word;
  head.after = after.word;
  head.coalesced = 0;
  if (payload != 0) {
    std::byte* end = after.put(before.put(path.put(claim.payload())));
    if (stack_part != 0) put_stack(end, nullptr, 0, span);
  }
  claim.commit();
}

struct Scratch {
  Value before;
  Value after;
};

Scratch& scratch() {
  static thread_local Scratch values;
  return values;
}

Scope scope_of(std::string_view name) {
  return name == "local" ? Scope::kLocal : name == "global" ? Scope::kGlobal : Scope::kUnknown;
}

const char* const kScopeNames[] = {"unknown", "local", "global", "both"};

/// rules(path): [{ name, scope, when, sample, maxPerSecond }] for a source file.
napi_value give_rules(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const watcher_rule* rules = nullptr;
  const std::size_t count = runtime->rules(text_of(env, arguments.values[0]).c_str(), &rules);
  napi_value list = nullptr;
  napi_create_array(env, &list);
  for (std::size_t i = 0; i < count; ++i) {
    napi_value rule = nullptr;
    napi_create_object(env, &rule);
    const auto put = [&](const char* name, napi_value value) { napi_set_named_property(env, rule, name, value); };
    put("name", make_text(env, rules[i].name));
    put("scope", make_text(env, kScopeNames[rules[i].scope]));
    put("when", make_text(env, rules[i].when != nullptr ? rules[i].when : ""));
    put("sample", make_number(env, rules[i].sample));
    put("maxPerSecond", make_number(env, rules[i].max_per_second));
    napi_set_element(env, list, static_cast<std::uint32_t>(i), rule);
  }
  return list;
}

/// site(name, scope, owner, function, file, line, when, sample, maxPerSecond): a number for record(); 0: no session.
napi_value make_site(napi_env env, napi_callback_info info) {
  const Arguments<9> arguments(env, info);
  const auto text = [&](int at) { return text_of(env, arguments.values[at]); };
  if (!ensure_session()) return make_number(env, 0);
  const std::string when = text(6);
  const VariableTerms terms{.format = {},
                            .item_bytes = 0,
                            .mutation_depth = 0,
                            .when = when,
                            .sample = number_of(env, arguments.values[7], 1),
                            .max_per_second = static_cast<std::uint32_t>(number_of(env, arguments.values[8]))};
  const Scope scope = scope_of(text(1));
  const Site site{.variable = intern_variable(text(0), text(2), scope, terms),
                  .place = intern_place(text(3), text(4), static_cast<int>(number_of(env, arguments.values[5]))),
                  .scope = scope};
  return make_number(env, sites().add(site));
}

void record_at(napi_env env, napi_value number, napi_value before, std::string_view before_type, napi_value after,
               std::string_view after_type) {
  std::uint32_t which = 0;
  napi_get_value_uint32(env, number, &which);
  const Site* site = sites().find(which);
  if (site == nullptr) return;
  Scratch& values = scratch();
  encode(env, before, before_type, &values.before);
  encode(env, after, after_type, &values.after);
  emit(Op::kStore, {.variable = site->variable, .place = site->place, .scope = site->scope}, {}, values.before,
       values.after);
}

/// record(site, before, after): a store of values that are no objects.
napi_value record(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  record_at(env, arguments.values[0], arguments.values[1], {}, arguments.values[2], {});
  return nullptr;
}

/// recordDescribed(site, before, beforeType, after, afterType): types are '' for values themselves.
napi_value record_described(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  record_at(env, arguments.values[0], arguments.values[1], text_of(env, arguments.values[2]), arguments.values[3],
            text_of(env, arguments.values[4]));
  return nullptr;
}

/// Numbers are indexes, texts are themselves, a pair of numbers in an array is a range.
void read_step(napi_env env, napi_value step, Path* path) {
  napi_valuetype kind = napi_undefined;
  napi_typeof(env, step, &kind);
  if (kind == napi_number) return path->add(PathKind::kIndex, static_cast<std::int64_t>(number_of(env, step)), 0, {});
  if (kind == napi_string) {
    std::uint64_t total = 0;
    const std::string text = bounded_text(env, step, 1024, &total);
    return path->add(PathKind::kText, static_cast<std::int64_t>(text.size()), 0, text);
  }
  napi_value first = nullptr, end = nullptr;
  napi_get_element(env, step, 0, &first);
  napi_get_element(env, step, 1, &end);
  path->add(PathKind::kRange, static_cast<std::int64_t>(number_of(env, first)),
            static_cast<std::int64_t>(number_of(env, end)), {});
}

Path read_path(napi_env env, napi_value list) {
  Path path;
  std::uint32_t length = 0;
  if (napi_get_array_length(env, list, &length) != napi_ok) return path;
  for (std::uint32_t i = 0; i < length; ++i) {
    napi_value step = nullptr;
    if (napi_get_element(env, list, i, &step) == napi_ok) read_step(env, step, &path);
  }
  return path;
}

/// objectVariable(name, mutationDepth, when, sample, maxPerSecond): a variable for change(), named by the program.
napi_value make_object_variable(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  const std::string when = text_of(env, arguments.values[2]);
  const VariableTerms terms{.format = {},
                            .item_bytes = 0,
                            .mutation_depth = static_cast<std::uint32_t>(number_of(env, arguments.values[1])),
                            .when = when,
                            .sample = number_of(env, arguments.values[3], 1),
                            .max_per_second = static_cast<std::uint32_t>(number_of(env, arguments.values[4]))};
  return make_number(env, intern_variable(text_of(env, arguments.values[0]), {}, Scope::kUnknown, terms));
}

/// change(variable, place, op, path, before, beforeType, after, afterType, exact): a change inside an object.
napi_value record_change(napi_env env, napi_callback_info info) {
  const Arguments<9> arguments(env, info);
  if (!ring) return nullptr;
  const auto number = [&](int at) { return static_cast<std::uint32_t>(number_of(env, arguments.values[at])); };
  bool exact = true;
  napi_get_value_bool(env, arguments.values[8], &exact);
  const std::uint32_t op = number(2);
  if (op >= static_cast<std::uint32_t>(Op::kCount)) return nullptr;
  Scratch& values = scratch();
  encode(env, arguments.values[4], text_of(env, arguments.values[5]), &values.before);
  encode(env, arguments.values[6], text_of(env, arguments.values[7]), &values.after);
  const Subject subject{.variable = number(0), .place = number(1), .scope = Scope::kUnknown, .exact = exact};
  emit(static_cast<Op>(op), subject, read_path(env, arguments.values[3]), values.before, values.after);
  return nullptr;
}

/// ops(): the numbers of what can happen to an object, by name.
napi_value give_ops(napi_env env, napi_callback_info) {
  static constexpr struct {
    const char* name;
    Op op;
  } kOps[] = {
      {"init", Op::kInit},       {"setitem", Op::kSetItem}, {"delitem", Op::kDelItem}, {"append", Op::kAppend},
      {"insert", Op::kInsert},   {"pop", Op::kPop},         {"clear", Op::kClear},     {"sort", Op::kSort},
      {"reverse", Op::kReverse}, {"add", Op::kAdd},         {"discard", Op::kDiscard}, {"appendleft", Op::kAppendLeft},
      {"popleft", Op::kPopLeft}, {"setattr", Op::kSetAttr}, {"delattr", Op::kDelAttr}, {"change", Op::kChange}};
  napi_value object = nullptr;
  napi_create_object(env, &object);
  for (const auto& row : kOps)
    napi_set_named_property(env, object, row.name, make_number(env, static_cast<double>(row.op)));
  return object;
}

}  // namespace

void add_records(napi_env env, napi_value binding) {
  static constexpr BindingFunction kFunctions[] = {{"rules", give_rules},
                                                   {"site", make_site},
                                                   {"record", record},
                                                   {"recordDescribed", record_described},
                                                   {"objectVariable", make_object_variable},
                                                   {"change", record_change},
                                                   {"ops", give_ops}};
  add_functions(env, binding, kFunctions);
}

}  // namespace watcher::node
