#include "runtime/output/json/value_json.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "runtime/enrich/item_format.h"
#include "runtime/output/json/big_int.h"
#include "runtime/output/json/utf8.h"

namespace watcher {
namespace {

constexpr std::size_t kMaxShownBytes = 1024;
constexpr std::uint64_t kMaxShownItems = 64;
constexpr char kHexDigits[] = "0123456789abcdef";

std::string_view float_repr(double value) {
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

void append_bytes_literal(std::string_view bytes, std::string* out) {
  out->append("b'");
  for (const char character : bytes) {
    const auto byte = static_cast<unsigned char>(character);
    if (character == '\\' || character == '\'') out->push_back('\\');
    if (byte >= 0x20 && byte < 0x7f)
      out->push_back(character);
    else
      out->append({'\\', 'x', kHexDigits[byte >> 4], kHexDigits[byte & 15]});
  }
  out->push_back('\'');
}

std::string hex_text(std::string_view bytes) {
  std::string out;
  for (const char character : bytes) {
    const auto byte = static_cast<unsigned char>(character);
    out.append({kHexDigits[byte >> 4], kHexDigits[byte & 15]});
  }
  return out;
}

void write_truncation(std::uint64_t shown, std::uint64_t total, JsonWriter* json) {
  if (shown >= total) return;
  json->key("truncated");
  json->count(total);
}

void write_big_int(const ValueView& value, JsonWriter* json) {
  const auto small = value.truncated() ? std::nullopt : small_integer(value.bytes);
  if (small) {
    json->key("value");
    json->integer(*small);
    return;
  }
  json->key("repr");
  // A number without its top is no number: its bytes, lowest first.
  json->text(value.truncated() ? hex_text(value.bytes.substr(0, kMaxShownBytes)) : integer_text(value.bytes));
  write_truncation(value.bytes.size(), value.total, json);
}

void write_float(double value, JsonWriter* json) {
  if (std::isfinite(value)) {
    json->key("value");
    json->number(value);
  } else {
    json->key("repr");
    json->text(float_repr(value));
  }
}

void write_redacted(JsonWriter* json) {
  json->key("redacted");
  json->boolean(true);
}

void write_text(const ValueView& value, JsonWriter* json) {
  json->foreign_text(value.truncated() ? without_partial_tail(value.bytes) : value.bytes);
  write_truncation(value.bytes.size(), value.total, json);
}

void write_bytes(const ValueView& value, JsonWriter* json) {
  const std::string_view shown = value.bytes.substr(0, kMaxShownBytes);
  std::string literal;
  append_bytes_literal(shown, &literal);
  json->key("repr");
  json->text(literal);
  write_truncation(shown.size(), value.total, json);
}

std::string_view type_of(const ValueView& value) {
  if (!value.type_name.empty()) return value.type_name;
  switch (value.kind) {
    case ValueKind::kNone:
      return "NoneType";
    case ValueKind::kBool:
      return "bool";
    case ValueKind::kInt:
    case ValueKind::kBigInt:
      return "int";
    case ValueKind::kFloat:
      return "float";
    case ValueKind::kText:
      return "str";
    case ValueKind::kBytes:
    case ValueKind::kMemory:
      return "bytes";
    default:
      return "object";
  }
}

void write_content(const ValueView& value, JsonWriter* json) {
  switch (value.kind) {
    case ValueKind::kBool:
      json->key("value");
      return json->boolean(value.word != 0);
    case ValueKind::kInt:
      json->key("value");
      return json->integer(value.as_int());
    case ValueKind::kFloat:
      return write_float(value.as_float(), json);
    case ValueKind::kBigInt:
      return write_big_int(value, json);
    case ValueKind::kText:
      json->key("value");
      return write_text(value, json);
    case ValueKind::kBytes:
    case ValueKind::kMemory:
      return write_bytes(value, json);
    case ValueKind::kObject:
      json->key("repr");
      return write_text(value, json);
    default:
      json->key("value");
      return json->null();
  }
}

void write_item(const ItemFormat& format, const char* bytes, JsonWriter* json) {
  switch (format.kind) {
    case ItemKind::kSigned:
      return json->integer(static_cast<std::int64_t>(format.integer(bytes)));
    case ItemKind::kUnsigned:
      return json->count(format.integer(bytes));
    case ItemKind::kBool:
      return json->boolean(format.integer(bytes) != 0);
    case ItemKind::kComplex:
    case ItemKind::kTime:
      return json->text(format.shown(bytes));
    case ItemKind::kText:
      return json->text(format.text(bytes));
    case ItemKind::kDuration:
      return json->integer(static_cast<std::int64_t>(format.integer(bytes)));
    default: {
      const double value = format.real(bytes);
      return std::isfinite(value) ? json->number(value) : json->text(float_repr(value));
    }
  }
}

/// Most values are one.
void write_int(const ValueView& value, JsonWriter* json) {
  constexpr std::string_view kOpening = R"({"type":"int","value":)";
  json->value(kOpening.size() + kLongestDecimal + 1, [&](char* to) {
    std::memcpy(to, kOpening.data(), kOpening.size());
    to = put_decimal(value.as_int(), to + kOpening.size());
    *to = '}';
    return to + 1;
  });
}

ValueView as_bytes(std::string_view bytes, std::uint64_t total) {
  ValueView value;
  value.kind = ValueKind::kBytes;
  value.bytes = bytes;
  value.total = total;
  return value;
}

void write_one_item(const ItemFormat& format, const char* bytes, JsonWriter* json) {
  json->start_object();
  json->key("type");
  json->text(format.type_name());
  if (format.kind == ItemKind::kFloat) {
    write_float(format.real(bytes), json);
  } else {
    format.kind == ItemKind::kComplex || format.kind == ItemKind::kTime ? json->key("repr") : json->key("value");
    write_item(format, bytes, json);
  }
  json->end_object();
}

void write_items(const ItemFormat& format, std::string_view bytes, std::uint64_t total, JsonWriter* json) {
  const std::uint64_t count = total / format.size;
  json->start_object();
  json->key("type");
  json->text(std::string(format.type_name()) + "[]");
  if (count <= kMaxShownItems && bytes.size() == total) {
    json->key("value");
    json->start_array();
    for (std::uint64_t i = 0; i < count; ++i) write_item(format, bytes.data() + i * format.size, json);
    json->end_array();
  } else {
    const std::string_view shown = bytes.substr(0, kMaxShownBytes);
    json->key("repr");
    json->text(hex_text(shown));
    write_truncation(shown.size(), total, json);
  }
  json->end_object();
}

std::string range_text(std::int64_t first, std::int64_t end) {
  return std::to_string(first) + ":" + std::to_string(end);
}

}  // namespace

void write_value(const ValueView& value, JsonWriter* json) {
  if (value.kind == ValueKind::kUnbound) return json->null();
  if (value.kind == ValueKind::kInt && value.type_name.empty() && !value.redacted) return write_int(value, json);
  json->start_object();
  json->key("type");
  json->foreign_text(type_of(value));
  value.redacted ? write_redacted(json) : write_content(value, json);
  json->end_object();
}

MemoryItems::MemoryItems(const EventView& event)
    : format_(event.item_format),
      item_size_(event.item_size != 0 ? event.item_size : 1),
      total_(event.before.total),
      shown_(event.ranges.empty() ? total_ : event.ranges.front().kept),
      first_(event.memory_offset / item_size_),
      end_(first_ + (event.in_item + total_ + item_size_ - 1) / item_size_),
      whole_(event.in_item == 0 && total_ % item_size_ == 0 && !event.items_apart) {}

void MemoryItems::write_path(JsonWriter* json) const {
  json->start_array();
  if (end_ == first_ + 1)
    json->count(first_);
  else if (end_ > first_)
    json->text(range_text(static_cast<std::int64_t>(first_), static_cast<std::int64_t>(end_)));
  json->end_array();
}

void MemoryItems::write_side(const ValueView& value, JsonWriter* json) const {
  const ItemFormat format = ItemFormat::parse(format_, item_size_);
  if (value.redacted) {
    json->start_object();
    json->key("type");
    json->text(format.type_name());
    write_redacted(json);
    return json->end_object();
  }
  const std::string_view bytes = value.bytes.substr(0, shown_);
  if (!whole_ || bytes.size() < item_size_ || format.kind == ItemKind::kRaw || format.kind == ItemKind::kChar)
    return write_value(as_bytes(bytes, total_), json);
  return end_ == first_ + 1 ? write_one_item(format, bytes.data(), json) : write_items(format, bytes, total_, json);
}

void write_path(const std::vector<PathPart>& path, JsonWriter* json) {
  json->start_array();
  for (const PathPart& part : path) {
    if (part.kind == PathKind::kIndex) json->integer(part.value);
    if (part.kind == PathKind::kText) json->foreign_text(part.text);
    if (part.kind == PathKind::kRange) json->text(range_text(part.value, part.end));
  }
  json->end_array();
}

}  // namespace watcher
