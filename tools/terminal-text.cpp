#include "tools/terminal-text.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>

#include "config/spelling.h"

namespace watcher {
namespace {

struct Character {
  char32_t code;
  std::size_t bytes;
};

/// Of valid UTF-8.
Character decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t bytes = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  char32_t code = bytes == 1 ? first : first & (0x7fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) code = code << 6 | (byte(i) & 0x3f);
  return {code, bytes};
}

bool is_dangerous(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c || code == 0x200e || code == 0x200f ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

std::string escaped(char32_t code) {
  if (code == '\n') return "\\n";
  if (code == '\t') return "\\t";
  if (code == '\r') return "\\r";
  char text[16];
  std::snprintf(text, sizeof text, code < 0x100 ? "\\x%02x" : "\\u%04x", static_cast<unsigned>(code));
  return text;
}

}  // namespace

std::string safe_text(std::string_view text) {
  std::string safe;
  while (!text.empty()) {
    const std::size_t valid = std::min(find_invalid_utf8(text), text.size());
    for (std::string_view rest = text.substr(0, valid); !rest.empty();) {
      const Character character = decode(rest);
      safe += is_dangerous(character.code) ? escaped(character.code) : std::string(rest.substr(0, character.bytes));
      rest.remove_prefix(character.bytes);
    }
    text.remove_prefix(valid);
    if (text.empty()) break;
    safe += escaped(static_cast<unsigned char>(text.front()));
    text.remove_prefix(1);
  }
  return safe;
}

std::string shortened(std::string_view text, std::size_t characters) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i)
    if ((text[i] & 0xc0) != 0x80 && ++seen > characters) return std::string(text.substr(0, i)) + "…";
  return std::string(text);
}

Painter Painter::choose(std::string_view choice, int fd) {
  const char* refused = getenv("NO_COLOR");
  const char* terminal = getenv("TERM");
  const bool willing = isatty(fd) && !(refused && *refused) && terminal && terminal != std::string_view("dumb");
  return Painter(choice == "always" || (choice == "auto" && willing));
}

std::string Painter::operator()(Colour colour, const std::string& text) const {
  static constexpr const char* kCodes[] = {"", "2", "1", "31", "32", "36", "1;31"};
  if (!colours_ || colour == Colour::kPlain || text.empty()) return text;
  return std::string("\033[") + kCodes[static_cast<int>(colour)] + "m" + text + "\033[0m";
}

std::string time_text(std::uint64_t nanoseconds) {
  const auto seconds = static_cast<time_t>(nanoseconds / 1'000'000'000);
  struct tm local {};
  localtime_r(&seconds, &local);
  char text[48];
  const std::size_t size = strftime(text, sizeof text, "%F %T", &local);
  std::snprintf(text + size, sizeof text - size, ".%06u", static_cast<unsigned>(nanoseconds / 1000 % 1'000'000));
  return text;
}

}  // namespace watcher
