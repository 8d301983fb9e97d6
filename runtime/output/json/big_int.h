// Integers of any size, as they come in events: little-endian two's complement, as few bytes as possible.
//
// Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace watcher {

/// Decimal digits are computed up to this many bytes (some 4,300 digits, Python's own bound); longer ones are written
/// in hex.
inline constexpr std::size_t kMaxDecimalBytes = 1792;

std::optional<std::int64_t> small_integer(std::string_view little_endian);
std::string integer_text(std::string_view little_endian);

}  // namespace watcher
