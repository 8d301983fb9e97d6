#include "probes/node/events/values.h"

#include <string.h>

#include <algorithm>
#include <vector>

#include "probes/node/events/emit.h"

namespace watcher::node {
namespace {

void encode_number(napi_env env, napi_value value, Value* out) {
  double number = 0;
  napi_get_value_double(env, value, &number);
  out->clear(ValueKind::kFloat);
  out->kind = put_number(number, &out->word);
}

void encode_bool(napi_env env, napi_value value, Value* out) {
  bool flag = false;
  napi_get_value_bool(env, value, &flag);
  out->clear(ValueKind::kBool);
  out->word = flag ? 1 : 0;
}

/// Minimal little-endian two's complement.
void encode_bigint(napi_env env, napi_value value, Value* out) {
  constexpr std::size_t kMostWords = kMaxValueBytes / 16;
  int sign = 0;
  std::size_t words = 0;
  napi_get_value_bigint_words(env, value, nullptr, &words, nullptr);
  const std::size_t length = std::min(words, kMostWords);
  std::vector<std::uint64_t> digits(length);
  std::size_t room = length;
  napi_get_value_bigint_words(env, value, &sign, &room, digits.data());
  digits.push_back(0);
  std::uint64_t carry = sign != 0 ? 1 : 0;
  for (std::uint64_t& digit : digits) {
    if (sign == 0) break;
    digit = ~digit + carry;
    carry = carry != 0 && digit == 0 ? 1 : 0;
  }
  out->clear(ValueKind::kBigInt);
  out->type_name = ring.dictionary().intern("bigint");
  out->bytes.assign(reinterpret_cast<const char*>(digits.data()), digits.size() * 8);
  const char filler = sign != 0 ? '\xff' : '\0';
  std::size_t kept = out->bytes.size();
  while (kept > 1 && out->bytes[kept - 1] == filler && ((out->bytes[kept - 2] ^ filler) & 0x80) == 0) --kept;
  out->bytes.resize(kept);
  out->total = kept;
}

void encode_text(napi_env env, napi_value value, ValueKind kind, DictionaryRef type, Value* out) {
  out->clear(kind);
  out->type_name = type;
  out->total = read_text(env, value, kMaxValueBytes, &out->bytes);
}

void encode_undefined(Value* out) {
  static const DictionaryRef type = ring.dictionary().intern("undefined");
  out->clear(ValueKind::kObject);
  out->type_name = type;
  out->bytes = "undefined";
  out->total = out->bytes.size();
}

}  // namespace

std::uint64_t read_text(napi_env env, napi_value value, std::size_t most, std::string* text) {
  std::size_t bytes = 0;
  text->resize(255);
  // one call is enough for what is short
  if (napi_get_value_string_utf8(env, value, text->data(), text->size() + 1, &bytes) != napi_ok) bytes = 0;
  std::uint64_t total = bytes;
  if (bytes + 3 >= text->size()) {
    napi_get_value_string_utf8(env, value, nullptr, 0, &bytes);
    total = bytes;
    text->resize(std::min(bytes, most));
    napi_get_value_string_utf8(env, value, text->data(), text->size() + 1, &bytes);
  }
  text->resize(bytes);
  return total;
}

Scratch& scratch() {
  static thread_local Scratch values;
  return values;
}

void put_values(const Claim& claim, std::byte* at, const Value& before, const Value& after) {
  EventHead& head = *claim.head;
  head.before_kind = before.kind;
  head.after_kind = after.kind;
  head.before = before.word;
  head.after = after.word;
  after.put(before.put(at));
}

std::uint32_t Value::payload_bytes() const {
  if (is_inline(kind)) return 0;
  return static_cast<std::uint32_t>(sizeof(ValueBlob)) + padded8(static_cast<std::uint32_t>(bytes.size()));
}

std::byte* Value::put(std::byte* at) const {
  if (is_inline(kind)) return at;
  const auto stored = static_cast<std::uint32_t>(bytes.size());
  const ValueBlob blob{.stored = stored, .type_name = type_name, .total = total};
  memcpy(at, &blob, sizeof blob);
  memcpy(at + sizeof blob, bytes.data(), stored);
  return at + sizeof blob + padded8(stored);
}

void encode(napi_env env, napi_value value, std::string_view type, Value* out) {
  napi_valuetype kind = napi_symbol;
  if (value != nullptr) napi_typeof(env, value, &kind);
  if (!type.empty()) return encode_text(env, value, ValueKind::kObject, ring.dictionary().intern(type), out);
  switch (kind) {
    case napi_number:
      return encode_number(env, value, out);
    case napi_boolean:
      return encode_bool(env, value, out);
    case napi_string: {
      static const DictionaryRef string = ring.dictionary().intern("string");
      return encode_text(env, value, ValueKind::kText, string, out);
    }
    case napi_bigint:
      return encode_bigint(env, value, out);
    case napi_null:
      return out->clear(ValueKind::kNone);
    case napi_undefined:
      return encode_undefined(out);
    default:
      return out->clear(ValueKind::kUnbound);
  }
}

}  // namespace watcher::node
