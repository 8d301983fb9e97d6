#include "runtime/process/variable_filter.h"

#include <cmath>

#include "runtime/enrich/item_format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace watcher {
namespace {

using Kind = ConditionValue::Kind;

constexpr std::uint64_t kSecondNs = 1'000'000'000;

ConditionValue other(const ValueView& value) {
  return {.kind = Kind::kOther, .text = value.bytes, .type = value.type_name};
}

/// Little-endian two's complement, to the precision of a double.
double big_int(std::string_view bytes) {
  double value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value * 256 + static_cast<unsigned char>(bytes[i]);
  const bool negative = !bytes.empty() && (static_cast<unsigned char>(bytes.back()) & 0x80) != 0;
  return negative ? value - std::ldexp(1.0, static_cast<int>(8 * bytes.size())) : value;
}

/// One element of a watched buffer is a number; several are no plain value.
ConditionValue memory_value(const EventView& event, const ValueView& value) {
  const ItemFormat format = ItemFormat::parse(event.item_format, event.item_size);
  if (value.bytes.size() != format.size || event.in_item != 0) return other(value);
  switch (format.kind) {
    case ItemKind::kSigned:
      return ConditionValue::of(static_cast<std::int64_t>(format.integer(value.bytes.data())));
    case ItemKind::kUnsigned: {
      const std::uint64_t word = format.integer(value.bytes.data());
      return word <= INT64_MAX ? ConditionValue::of(static_cast<std::int64_t>(word))
                               : ConditionValue::of(static_cast<double>(word));
    }
    case ItemKind::kBool:
      return ConditionValue::boolean(format.integer(value.bytes.data()) != 0);
    case ItemKind::kFloat:
      return ConditionValue::of(format.real(value.bytes.data()));
    default:
      return other(value);
  }
}

ConditionValue value_of(const EventView& event, const ValueView& value) {
  ConditionValue result;
  switch (value.kind) {
    case ValueKind::kUnbound:
    case ValueKind::kNone:
      break;
    case ValueKind::kBool:
      result = ConditionValue::boolean(value.word != 0);
      break;
    case ValueKind::kInt:
      result = ConditionValue::of(value.as_int());
      break;
    case ValueKind::kFloat:
      result = ConditionValue::of(value.as_float());
      break;
    case ValueKind::kBigInt:
      result = ConditionValue::of(big_int(value.bytes));
      result.type = "int";
      break;
    case ValueKind::kText:
      result = ConditionValue::of(value.bytes);
      break;
    case ValueKind::kMemory:
      return memory_value(event, value);
    default:
      return other(value);
  }
  if (!value.type_name.empty()) result.type = value.type_name;
  return result;
}

}  // namespace

std::string path_text(const std::vector<PathPart>& path) {
  std::string text;
  for (const PathPart& part : path) {
    if (!text.empty()) text += '.';
    if (part.kind == PathKind::kText)
      text += part.text;
    else
      text += std::to_string(part.value);
    if (part.kind == PathKind::kRange) text += ':' + std::to_string(part.end);
  }
  return text;
}

ConditionValue condition_value(ConditionName name, const void* change) {
  const auto& subject = *static_cast<const ConditionSubject*>(change);
  const EventView& event = *subject.event;
  switch (name) {
    case ConditionName::kOld:
      return value_of(event, event.before);
    case ConditionName::kNew:
      return value_of(event, event.after);
    case ConditionName::kName:
      return ConditionValue::of(event.variable_name);
    case ConditionName::kPath:
      return ConditionValue::of(std::string_view(subject.path));
    case ConditionName::kThread:
      return event.thread_name.empty() ? ConditionValue::of(std::int64_t{event.thread_id})
                                       : ConditionValue::of(event.thread_name);
    case ConditionName::kLine:
      return ConditionValue::of(std::int64_t{event.line});
    case ConditionName::kFunction:
      return ConditionValue::of(event.function);
    case ConditionName::kFile:
      return ConditionValue::of(event.file);
    case ConditionName::kOp:
      return ConditionValue::of(op_name(event.op));
    case ConditionName::kScope:
      return ConditionValue::of(scope_name(event.scope));
  }
  return {};
}

const VariableFilter::Terms& VariableFilter::terms_of(DictionaryRef filter, const Dictionary& dictionary) {
  const auto [found, fresh] = terms_.try_emplace(filter);
  FilterBlob blob{};
  if (!fresh || !dictionary.read(BlobKind::kFilter, filter, &blob)) return found->second;
  Terms& terms = found->second;
  terms.max_per_second = blob.max_per_second;
  if (blob.sample >= 0 && blob.sample <= 1) terms.sample = blob.sample;
  if (blob.when == 0) return terms;
  // What the writer has put there was compiled once already; of a damaged ring every event is kept.
  if (auto condition = Condition::compile(dictionary.string(blob.when)); condition)
    terms.when = std::move(condition.value());
  return terms;
}

bool VariableFilter::is_limited(DictionaryRef variable, const Dictionary& dictionary) {
  VariableBlob blob{};
  return dictionary.read(BlobKind::kVariable, variable, &blob) && blob.filter != 0 &&
         terms_of(blob.filter, dictionary).max_per_second != 0;
}

bool VariableFilter::within_limit(const Terms& terms, const EventView& event, std::uint64_t timestamp_ns) {
  if (terms.max_per_second == 0) return true;
  Second& second = seconds_[event.variable_id];
  const std::uint64_t number = timestamp_ns / kSecondNs;
  if (second.number != number) second = {number, 0};
  return second.events++ < terms.max_per_second;
}

bool VariableFilter::keeps(const EventView& event, const Dictionary& dictionary, std::uint64_t timestamp_ns) {
  if (event.filter_ref == 0) return true;
  const Terms& terms = terms_of(event.filter_ref, dictionary);
  if (terms.when) {
    ConditionSubject subject{&event, {}};
    if (terms.when->mentions(ConditionName::kPath)) subject.path = path_text(event.path);
    if (terms.when->test(condition_value, &subject) == Condition::Verdict::kFalse) return false;
  }
  // The ticket is the event's own number: the same events are taken when a ring is read a second time.
  constexpr double kRange = 18446744073709551616.0;
  if (terms.sample < 1 && static_cast<double>(XXH64(&event.ticket, sizeof event.ticket, 0)) >= terms.sample * kRange)
    return false;
  return within_limit(terms, event, timestamp_ns);
}

}  // namespace watcher
