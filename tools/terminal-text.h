// What programs have stored, shown on a terminal: nothing of it may move the cursor, change the direction of the text,
// or end the line. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace watcher {

/// Control characters (C0, DEL, C1), line separators, marks of direction and bytes that are not UTF-8 as \n, \x1b,
/// \u202e; all else as it is.
std::string safe_text(std::string_view text);

/// At most `characters` of it, with … in the place of the rest.
std::string shortened(std::string_view text, std::size_t characters);

enum class Colour { kPlain, kFaint, kName, kBefore, kAfter, kPlace, kProblem };

/// Colours text, or leaves it.
class Painter {
 public:
  /// `choice`: auto (a terminal, and no NO_COLOR), always or never.
  static Painter choose(std::string_view choice, int fd);
  explicit Painter(bool colours) : colours_(colours) {}
  std::string operator()(Colour colour, const std::string& text) const;

 private:
  bool colours_;
};

/// Local time to the microsecond: 2026-11-23 04:36:05.187716
std::string time_text(std::uint64_t nanoseconds);

}  // namespace watcher
