#include "probes/node/objects/records.h"

#include <string.h>

#include <algorithm>
#include <string>

#include "probes/node/events/emit.h"
#include "probes/node/events/values.h"
#include "probes/node/host/fast_function.h"
#include "probes/node/host/napi_values.h"

namespace watcher::node {
namespace {

constexpr std::size_t kMaxPathText = 1024;

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
  /// The number of steps and then the steps.
  std::string as_text() const { return std::string(reinterpret_cast<const char*>(&count), sizeof count) + bytes; }
  void read_start(napi_env env, napi_value text) {
    std::size_t length = 0;
    count = 0;
    bytes.clear();
    if (text == nullptr || napi_get_value_string_latin1(env, text, nullptr, 0, &length) != napi_ok) return;
    bytes.resize(length);
    napi_get_value_string_latin1(env, text, bytes.data(), length + 1, &length);
    memcpy(&count, bytes.data(), std::min(length, sizeof count));
    bytes.erase(0, sizeof count);
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
  const std::uint32_t payload = path.payload_bytes() + before.payload_bytes() + after.payload_bytes();
  const Claim claim = claim_event(op, subject, payload);
  if (!claim) return;
  if (path.count != 0) claim.head->flags |= kHasPath;
  put_values(claim, path.put(claim.payload()), before, after);
  claim.commit();
}

/// Nothing where there is no step. Numbers are indexes, texts are themselves, a pair of numbers in an array is a range.
void read_step(napi_env env, napi_value step, Path* path) {
  napi_valuetype kind = napi_undefined;
  if (step != nullptr) napi_typeof(env, step, &kind);
  if (kind == napi_undefined) return;
  if (kind == napi_number) return path->add(PathKind::kIndex, static_cast<std::int64_t>(number_of(env, step)), 0, {});
  if (kind == napi_string) {
    static thread_local std::string text;
    read_text(env, step, kMaxPathText, &text);
    return path->add(PathKind::kText, static_cast<std::int64_t>(text.size()), 0, text);
  }
  napi_value first = nullptr, end = nullptr;
  napi_get_element(env, step, 0, &first);
  napi_get_element(env, step, 1, &end);
  path->add(PathKind::kRange, static_cast<std::int64_t>(number_of(env, first)),
            static_cast<std::int64_t>(number_of(env, end)), {});
}

/// path(steps): a text that change() takes for the start of a path.
napi_value make_path(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Path path;
  std::uint32_t length = 0;
  napi_get_array_length(env, arguments.values[0], &length);
  for (std::uint32_t i = 0; i < length; ++i) {
    napi_value step = nullptr;
    if (napi_get_element(env, arguments.values[0], i, &step) == napi_ok) read_step(env, step, &path);
  }
  const std::string text = path.as_text();
  napi_value value = nullptr;
  napi_create_string_latin1(env, text.data(), text.size(), &value);
  return value;
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

/// partVariable(variable, path, format, itemBytes): the same for memory that is reached by a path(); as rewatchMemory()
/// takes it.
napi_value make_part_variable(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  VariableBlob blob{};
  const auto variable = static_cast<DictionaryRef>(number_of(env, arguments.values[0]));
  if (!ring || !ring.dictionary().read(BlobKind::kVariable, variable, &blob)) return make_number(env, 0);
  Path path;
  path.read_start(env, arguments.values[1]);
  std::string bytes(path.payload_bytes(), 0);
  if (!bytes.empty()) path.put(reinterpret_cast<std::byte*>(bytes.data()));
  blob.path = bytes.empty() ? 0 : ring.dictionary().intern(bytes);
  blob.format = ring.dictionary().intern(text_of(env, arguments.values[2]));
  blob.item_size = static_cast<std::uint32_t>(number_of(env, arguments.values[3], 1));
  const DictionaryRef part = ring.dictionary().intern(BlobKind::kVariable, blob);
  return make_number(env, part * 4.0 + static_cast<double>(Scope::kUnknown));
}

std::string_view type_text(napi_value value, std::string* room) {
  napi_valuetype kind = napi_undefined;
  if (value != nullptr) napi_typeof(thread_env, value, &kind);
  if (kind != napi_string) return {};
  read_text(thread_env, value, kMaxPathText, room);
  return *room;
}

/// change(place, op, variable, start, key, before, beforeType, after, afterType, exact): a change inside an object, by
/// the code that called. `start`: path() of the part, or undefined; `key`: in it; types: undefined for values
/// themselves.
void record_change(const CallInfo& info) {
  static thread_local Path path;
  static thread_local std::string type;
  if (!ring) return;
  const napi_env env = thread_env;
  const auto number = [&](int at) { return static_cast<std::uint32_t>(number_of(env, info.argument(at))); };
  bool exact = true;
  napi_get_value_bool(env, info.argument(9), &exact);
  const std::uint32_t op = number(1);
  if (op >= static_cast<std::uint32_t>(Op::kCount)) return;
  path.read_start(env, info.argument(3));
  read_step(env, info.argument(4), &path);
  Scratch& values = scratch();
  encode(env, info.argument(5), type_text(info.argument(6), &type), &values.before);
  encode(env, info.argument(7), type_text(info.argument(8), &type), &values.after);
  const Subject subject{.variable = number(2), .place = number(0), .scope = Scope::kUnknown, .exact = exact};
  emit(static_cast<Op>(op), subject, path, values.before, values.after);
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
  static constexpr BindingFunction kFunctions[] = {{"objectVariable", make_object_variable},
                                                   {"path", make_path},
                                                   {"ops", give_ops},
                                                   {"partVariable", make_part_variable}};
  add_functions(env, binding, kFunctions);
  add_function(binding, "change", record_change);
}

}  // namespace watcher::node
