#include "runtime/process/event_facts.h"

#include <cstdlib>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace watcher {
namespace {

class Hash {
 public:
  Hash& add(std::string_view bytes) {
    value_ = XXH64(bytes.data(), bytes.size(), value_ + bytes.size());
    return *this;
  }
  Hash& add(std::uint64_t number) {
    value_ = XXH64(&number, sizeof number, value_);
    return *this;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0;
};

void add_value(const ValueView& value, Hash* hash) {
  hash->add(static_cast<std::uint64_t>(value.kind))
      .add(value.word)
      .add(value.bytes)
      .add(value.total)
      .add(value.type_name);
}

/// Null when there is none.
const rapidjson::Value* member(const rapidjson::Value& object, const char* key) {
  const auto found = object.FindMember(key);
  return found == object.MemberEnd() ? nullptr : &found->value;
}

/// A value that is no plain one, or is not wholly there.
ConditionValue other(std::string_view text, std::string_view type) {
  ConditionValue value{.kind = ConditionValue::Kind::kOther, .text = text, .type = type};
  return value;
}

ConditionValue plain_value(const rapidjson::Value& value, std::string_view type) {
  ConditionValue result;
  if (value.IsBool()) result = ConditionValue::boolean(value.GetBool());
  if (value.IsInt64()) result = ConditionValue::of(value.GetInt64());
  if (value.IsNumber() && !value.IsInt64()) result = ConditionValue::of(value.GetDouble());
  if (value.IsString()) result = ConditionValue::of(std::string_view(value.GetString(), value.GetStringLength()));
  if (value.IsObject() || value.IsArray()) return other({}, type);
  if (!value.IsNull()) result.type = type;
  return result;
}

}  // namespace

RingEventFacts::RingEventFacts(const EventView& event, const Delta& delta, std::uint64_t timestamp)
    : event_(event), subject_{&event, {}} {
  variable_id = event.variable_id;
  timestamp_ns = timestamp;
  thread_id = event.thread_id;
  deltas = delta.changed_bytes + (delta.size_changed() ? 1 : 0);
  line = event.line;
  name = event.variable_name;
  file = event.file;
  function = event.function;
  scope = scope_name(event.scope);
  thread_name = event.thread_name;
  op = op_name(event.op);
}

std::uint64_t RingEventFacts::content_hash() const {
  Hash hash;
  hash.add(variable_id).add(thread_id).add(static_cast<std::uint64_t>(line)).add(file).add(function).add(op);
  for (const PathPart& part : event_.path)
    hash.add(static_cast<std::uint64_t>(part.kind)).add(static_cast<std::uint64_t>(part.value)).add(part.text);
  hash.add(event_.memory_offset);
  add_value(event_.before, &hash);
  add_value(event_.after, &hash);
  return hash.value();
}

ConditionValue RingEventFacts::value(ConditionName wanted) const {
  if (wanted == ConditionName::kPath) subject_.path = path_text(event_.path);
  return condition_value(wanted, &subject_);
}

LineFacts::LineFacts(std::string_view line_text) : line_(line_text) {
  event_.Parse<rapidjson::kParseIterativeFlag>(line_text.data(), line_text.size());
  if (event_.HasParseError() || !event_.IsObject()) event_.SetObject();
  variable_id = std::strtoull(std::string(text("variable_id")).c_str(), nullptr, 16);
  timestamp_ns = static_cast<std::uint64_t>(number("timestamp_ns"));
  thread_id = static_cast<std::uint64_t>(number("thread_id"));
  line = number("line");
  name = text("variable_name");
  file = text("file");
  function = text("function");
  scope = text("scope");
  thread_name = text("thread_name");
  op = text("op");
  const rapidjson::Value* listed = member(event_, "deltas");
  if (listed != nullptr && listed->IsArray()) deltas = listed->Size();
  deltas = std::max(deltas, static_cast<std::uint64_t>(number("deltas_total")));
}

std::string_view LineFacts::text(const char* key) const {
  const rapidjson::Value* found = member(event_, key);
  return found != nullptr && found->IsString() ? std::string_view(found->GetString(), found->GetStringLength())
                                               : std::string_view();
}

std::int64_t LineFacts::number(const char* key) const {
  const rapidjson::Value* found = member(event_, key);
  return found != nullptr && found->IsInt64() ? found->GetInt64() : 0;
}

/// From the variable's id to the deltas: all but the event's number, its time, and what tells of other events.
std::uint64_t LineFacts::content_hash() const {
  const std::size_t begin = line_.find("\"variable_id\":");
  const std::size_t end = line_.rfind(",\"sql_context\":");
  return Hash().add(line_.substr(std::min(begin, line_.size()), end - begin)).value();
}

ConditionValue LineFacts::side(const char* key) const {
  const rapidjson::Value* found = member(event_, key);
  if (found == nullptr || !found->IsObject()) return {};
  const rapidjson::Value* type = member(*found, "type");
  const rapidjson::Value* value = member(*found, "value");
  const std::string_view type_name = type != nullptr && type->IsString() ? type->GetString() : "";
  return value == nullptr ? other({}, type_name) : plain_value(*value, type_name);
}

ConditionValue LineFacts::value(ConditionName wanted) const {
  switch (wanted) {
    case ConditionName::kOld:
      return side("before");
    case ConditionName::kNew:
      return side("after");
    case ConditionName::kName:
      return ConditionValue::of(name);
    case ConditionName::kThread:
      return thread_name.empty() ? ConditionValue::of(static_cast<std::int64_t>(thread_id))
                                 : ConditionValue::of(thread_name);
    case ConditionName::kLine:
      return ConditionValue::of(line);
    case ConditionName::kFunction:
      return ConditionValue::of(function);
    case ConditionName::kFile:
      return ConditionValue::of(file);
    case ConditionName::kOp:
      return ConditionValue::of(op);
    case ConditionName::kScope:
      return ConditionValue::of(scope);
    case ConditionName::kPath:
      break;
  }
  path_.clear();
  const rapidjson::Value* path = member(event_, "path");
  if (path == nullptr || !path->IsArray()) return ConditionValue::of(std::string_view(path_));
  for (const auto& part : path->GetArray()) {
    if (!path_.empty()) path_ += '.';
    path_ += part.IsString() ? part.GetString() : part.IsInt64() ? std::to_string(part.GetInt64()) : "";
  }
  return ConditionValue::of(std::string_view(path_));
}

ConditionValue fact_value(ConditionName name, const void* facts) {
  return static_cast<const EventFacts*>(facts)->value(name);
}

}  // namespace watcher
