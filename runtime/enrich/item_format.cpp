#include "runtime/enrich/item_format.h"

#include <cmath>
#include <cstring>

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
  return kind == kSigned ? static_cast<std::uint64_t>(static_cast<std::int64_t>(word << unused_bits) >> unused_bits)
                         : word;
}

double ItemFormat::real(const char* bytes) const {
  const std::uint64_t word = load(bytes);
  if (size == 2) return half_to_double(static_cast<std::uint16_t>(word));
  if (size == 4) return __builtin_bit_cast(float, static_cast<std::uint32_t>(word));
  return __builtin_bit_cast(double, word);
}

}  // namespace watcher
