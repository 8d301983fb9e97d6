#include "runtime/output/json/json_writer.h"

#include <emmintrin.h>
#include <rapidjson/internal/dtoa.h>

#include "runtime/output/json/utf8.h"

namespace watcher {
namespace {

constexpr std::size_t kBlock = 16;
constexpr std::size_t kLongestNumber = 32;
constexpr std::size_t kLongestEscape = 6;

bool is_plain(char character) {
  return character >= 0x20 && character != '"' && character != '\\';
}

/// Characters at the beginning that stand for themselves, and are ASCII.
std::size_t plain_prefix(std::string_view text) {
  std::size_t at = 0;
  for (; at + kBlock <= text.size(); at += kBlock) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    // as signed numbers: what is not ASCII is below as well
    const __m128i low = _mm_cmplt_epi8(block, _mm_set1_epi8(0x20));
    const __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
    const int other = _mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, backslash)));
    if (other != 0) return at + static_cast<std::size_t>(__builtin_ctz(static_cast<unsigned>(other)));
  }
  while (at < text.size() && is_plain(text[at])) ++at;
  return at;
}

char* put_escape(char character, char* to) {
  constexpr std::string_view kShort = "\b\t\n\f\r\"\\";
  constexpr std::string_view kLetters = "btnfr\"\\";
  const std::size_t known = kShort.find(character);
  *to++ = '\\';
  if (known != kShort.npos) {
    *to++ = kLetters[known];
    return to;
  }
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::memcpy(to, "u00", 3);
  to[3] = kDigits[character >> 4];
  to[4] = kDigits[character & 15];
  return to + 5;
}

}  // namespace

void JsonWriter::number(double number) {
  value(kLongestNumber, [&](char* to) { return rapidjson::internal::dtoa(number, to); });
}

/// The first `plain` characters stand for themselves.
void JsonWriter::escaped(std::string_view text, std::size_t plain) {
  while (!text.empty()) {
    buffer_->append(text.substr(0, plain));
    text.remove_prefix(plain);
    std::size_t others = 0;  // that are not ASCII, and stand for themselves as well
    while (others < text.size() && text[others] < 0) ++others;
    buffer_->append(text.substr(0, others));
    text.remove_prefix(others);
    if (others == 0 && !text.empty()) {
      char* const to = buffer_->room(kLongestEscape);
      buffer_->add(static_cast<std::size_t>(put_escape(text.front(), to) - to));
      text.remove_prefix(1);
    }
    plain = plain_prefix(text);
  }
}

void JsonWriter::text(std::string_view text) {
  begin_value();
  buffer_->append('"');
  escaped(text, plain_prefix(text));
  buffer_->append('"');
}

void JsonWriter::foreign_text(std::string_view value) {
  const std::size_t plain = plain_prefix(value);
  begin_value();
  buffer_->append('"');
  plain == value.size() ? buffer_->append(value) : escaped(valid_utf8(value, &scratch_), plain);
  buffer_->append('"');
}

}  // namespace watcher
