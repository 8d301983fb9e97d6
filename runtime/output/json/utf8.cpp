#include "runtime/output/json/utf8.h"

#include <cstdint>
#include <cstring>

namespace watcher {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

std::uint8_t byte_at(std::string_view text, std::size_t at) {
  return static_cast<std::uint8_t>(text[at]);
}

std::size_t ascii_prefix(std::string_view text, std::size_t from) {
  std::uint64_t word;
  while (from + sizeof word <= text.size()) {
    std::memcpy(&word, text.data() + from, sizeof word);
    if ((word & 0x8080808080808080u) != 0) break;
    from += sizeof word;
  }
  while (from < text.size() && byte_at(text, from) < 0x80) ++from;
  return from;
}

struct Lead {
  std::size_t length;   // of the sequence, 0: no lead byte
  std::uint8_t lowest;  // bounds of the second byte: no overlong forms, no surrogates, nothing above U+10FFFF
  std::uint8_t highest;
};

Lead classify(std::uint8_t lead) {
  if (lead >= 0xc2 && lead <= 0xdf) return {2, 0x80, 0xbf};
  if (lead == 0xe0) return {3, 0xa0, 0xbf};
  if (lead == 0xed) return {3, 0x80, 0x9f};
  if (lead >= 0xe1 && lead <= 0xef) return {3, 0x80, 0xbf};
  if (lead == 0xf0) return {4, 0x90, 0xbf};
  if (lead >= 0xf1 && lead <= 0xf3) return {4, 0x80, 0xbf};
  if (lead == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

/// Bytes of the valid sequence that starts here, 0 when there is none. Not for ASCII.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const Lead lead = classify(byte_at(text, at));
  if (lead.length == 0 || text.size() - at < lead.length) return 0;
  const std::uint8_t second = byte_at(text, at + 1);
  if (second < lead.lowest || second > lead.highest) return 0;
  for (std::size_t i = 2; i < lead.length; ++i)
    if ((byte_at(text, at + i) & 0xc0) != 0x80) return 0;
  return lead.length;
}

std::size_t valid_prefix(std::string_view text, std::size_t from) {
  for (;;) {
    from = ascii_prefix(text, from);
    if (from == text.size()) return from;
    const std::size_t length = sequence_length(text, from);
    if (length == 0) return from;
    from += length;
  }
}

}  // namespace

std::string_view valid_utf8(std::string_view text, std::string* scratch) {
  std::size_t valid = valid_prefix(text, 0);
  if (valid == text.size()) return text;
  scratch->clear();
  std::size_t copied = 0;
  while (valid < text.size()) {
    scratch->append(text.substr(copied, valid - copied)).append(kReplacement);
    copied = valid + 1;
    valid = valid_prefix(text, copied);
  }
  return scratch->append(text.substr(copied));
}

std::string_view without_partial_tail(std::string_view text) {
  std::size_t continuation = 0;
  while (continuation < 3 && continuation < text.size() &&
         (byte_at(text, text.size() - 1 - continuation) & 0xc0) == 0x80)
    ++continuation;
  if (continuation == text.size()) return text;
  const std::size_t lead_at = text.size() - 1 - continuation;
  const Lead lead = classify(byte_at(text, lead_at));
  return lead.length > continuation + 1 ? text.substr(0, lead_at) : text;
}

}  // namespace watcher
