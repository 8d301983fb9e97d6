#include "probes/node/records.h"

#include <string.h>

#include <string>

#include "probes/node/emit.h"
#include "probes/node/napi_values.h"
#include "probes/node/values.h"

namespace watcher::node {
namespace {

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
  const std::uint32_t payload = path.payload_bytes() + before.payload_bytes() + after.payload_bytes();
  const Claim claim = claim_event(op, subject, payload);
  if (!claim) return;
  if (path.count != 0) claim.head->flags |= kHasPath;
  put_values(claim, path.put(claim.payload()), before, after);
  claim.commit();
}

/// Numbers are indexes, texts are themselves, a pair of numbers in an array is a range.
void read_step(napi_env env, napi_value step, Path* path) {
  napi_valuetype kind = napi_undefined;
  napi_typeof(env, step, &kind);
  if (kind == napi_number) return path->add(PathKind::kIndex, static_cast<std::int64_t>(number_of(env, step)), 0, {});
  if (kind == napi_string) {
    std::string text;
    read_text(env, step, 1024, &text);
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
  static constexpr BindingFunction kFunctions[] = {
      {"objectVariable", make_object_variable}, {"change", record_change}, {"ops", give_ops}};
  add_functions(env, binding, kFunctions);
}

}  // namespace watcher::node
