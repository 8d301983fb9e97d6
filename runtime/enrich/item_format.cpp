#include "runtime/enrich/item_format.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "runtime/enrich/calendar_time.h"

namespace watcher {
namespace {

struct Code {
  char letter;
  ItemKind kind;
  std::uint8_t native_size;
  std::uint8_t standard_size;  // with one of = < > ! in front; 0: not allowed there
};

using enum ItemKind;
constexpr Code kCodes[] = {
    {'b', kSigned, 1, 1}, {'B', kUnsigned, 1, 1}, {'h', kSigned, 2, 2}, {'H', kUnsigned, 2, 2},
    {'i', kSigned, 4, 4}, {'I', kUnsigned, 4, 4}, {'l', kSigned, 8, 4}, {'L', kUnsigned, 8, 4},
    {'q', kSigned, 8, 8}, {'Q', kUnsigned, 8, 8}, {'n', kSigned, 8, 0}, {'N', kUnsigned, 8, 0},
    {'e', kFloat, 2, 2},  {'f', kFloat, 4, 4},    {'d', kFloat, 8, 8},  {'?', kBool, 1, 1},
    {'c', kChar, 1, 1},
};

const Code* find_code(std::string_view letters) {
  if (letters.size() != 1) return nullptr;
  for (const Code& code : kCodes)
    if (code.letter == letters[0]) return &code;
  return nullptr;
}

/// What is more than one number, or none of a plain count: complex numbers, text, times.
ItemFormat parse_wide(std::string_view format, ItemFormat item) {
  if (format == "Zf" || format == "Zd") {
    if (item.size == (format[1] == 'f' ? 8 : 16)) item.kind = kComplex;
  } else if ((format.starts_with("M8") || format.starts_with("m8")) && item.size == 8) {
    item.kind = format[0] == 'M' ? kTime : kDuration;
    const std::string_view unit = format.substr(2);
    if (unit.starts_with('[') && unit.ends_with(']')) item.unit = unit.substr(1, unit.size() - 2);
  } else if (format.ends_with('w') && item.size % 4 == 0) {
    std::uint32_t characters = 1;
    std::from_chars(format.data(), format.data() + format.size() - 1, characters);
    if (characters == item.size / 4) item.kind = kText;
  }
  return item;
}

/// As Python's repr() of a complex number has them.
std::string number_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, static_cast<std::size_t>(end - text)};
}

std::string complex_text(double real, double imaginary) {
  std::string text = number_text(imaginary);
  text.push_back('j');
  if (real == 0 && !std::signbit(real)) return text;
  if (!std::signbit(imaginary)) text.insert(text.begin(), '+');
  text.insert(0, number_text(real));
  text.insert(text.begin(), '(');
  text.push_back(')');
  return text;
}

void append_utf8(std::uint32_t code, std::string* text) {
  if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) code = 0xfffd;
  const auto add = [&](std::uint32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (code < 0x80) return add(code);
  add(code < 0x800 ? 0xc0 | code >> 6 : code < 0x10000 ? 0xe0 | code >> 12 : 0xf0 | code >> 18);
  if (code >= 0x10000) add(0x80 | (code >> 12 & 0x3f));
  if (code >= 0x800) add(0x80 | (code >> 6 & 0x3f));
  add(0x80 | (code & 0x3f));
}

double half_to_double(std::uint16_t bits) {
  const int exponent = bits >> 10 & 0x1f;
  const int fraction = bits & 0x3ff;
  double value;
  if (exponent == 0x1f)
    value = fraction == 0 ? HUGE_VAL : std::nan("");
  else if (exponent == 0)
    value = std::ldexp(fraction, -24);
  else
    value = std::ldexp(fraction + 0x400, exponent - 25);
  return (bits & 0x8000) != 0 ? -value : value;
}

}  // namespace

ItemFormat ItemFormat::parse(std::string_view format, std::uint32_t item_size) {
  ItemFormat raw;
  raw.size = item_size != 0 ? item_size : 1;
  bool standard = false;
  bool big_endian = false;
  if (!format.empty() && std::string_view("@=<>!").find(format[0]) != std::string_view::npos) {
    standard = format[0] != '@';
    big_endian = format[0] == '>' || format[0] == '!';
    format.remove_prefix(1);
  }
  raw.swapped = big_endian;
  if (const ItemFormat wide = parse_wide(format, raw); wide.kind != kRaw) return wide;
  const Code* code = find_code(format);
  if (code == nullptr || (standard ? code->standard_size : code->native_size) != raw.size) return raw;
  ItemFormat parsed;
  parsed.kind = code->kind;
  parsed.size = raw.size;
  parsed.swapped = big_endian;
  return parsed;
}

std::string_view ItemFormat::type_name() const {
  switch (kind) {
    case kSigned:
    case kUnsigned:
      return "int";
    case kFloat:
      return "float";
    case kBool:
      return "bool";
    case kComplex:
      return "complex";
    case kText:
      return "str";
    case kTime:
      return "datetime64";
    case kDuration:
      return "timedelta64";
    default:
      return "bytes";
  }
}

std::uint64_t ItemFormat::load(const char* bytes) const {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, size);
  return swapped ? __builtin_bswap64(word) >> (64 - 8 * size) : word;
}

std::uint64_t ItemFormat::integer(const char* bytes) const {
  const std::uint64_t word = load(bytes);
  if (kind == kBool) return word != 0;
  const unsigned unused_bits = 64 - 8 * size;
  return kind != kUnsigned ? static_cast<std::uint64_t>(static_cast<std::int64_t>(word << unused_bits) >> unused_bits)
                           : word;
}

double ItemFormat::real(const char* bytes) const {
  const std::uint64_t word = load(bytes);
  if (size == 2) return half_to_double(static_cast<std::uint16_t>(word));
  if (size == 4) return __builtin_bit_cast(float, static_cast<std::uint32_t>(word));
  return __builtin_bit_cast(double, word);
}

std::string ItemFormat::text(const char* bytes) const {
  std::string text;
  std::size_t end = 0;
  for (std::uint32_t at = 0; at < size; at += 4) {
    std::uint32_t code;
    std::memcpy(&code, bytes + at, sizeof code);
    append_utf8(swapped ? __builtin_bswap32(code) : code, &text);
    if (code != 0) end = text.size();
  }
  text.resize(end);
  return text;
}

std::string ItemFormat::shown(const char* bytes) const {
  if (kind == kTime) return calendar_time(static_cast<std::int64_t>(integer(bytes)), unit);
  ItemFormat half = *this;
  half.kind = kFloat;
  half.size = size / 2;
  return complex_text(half.real(bytes), half.real(bytes + half.size));
}

}  // namespace watcher
