// Numbers as text, two digits at a time: std::to_chars() counts the digits first, which costs as much again.
//
// Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace watcher {

inline constexpr std::size_t kLongestDecimal = 20;  // with its sign

inline constexpr std::array<char, 200> kDigitPairs = [] {
  std::array<char, 200> pairs{};
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i] = static_cast<char>('0' + (i % 2 == 0 ? i / 20 : i / 2 % 10));
  return pairs;
}();

/// Returns the end of what it wrote.
inline char* put_decimal(std::uint64_t number, char* to) {
  char digits[kLongestDecimal];
  char* first = digits + sizeof digits;
  for (; number >= 100; number /= 100) std::memcpy(first -= 2, &kDigitPairs[number % 100 * 2], 2);
  if (number >= 10)
    std::memcpy(first -= 2, &kDigitPairs[number * 2], 2);
  else
    *--first = static_cast<char>('0' + number);
  const auto count = static_cast<std::size_t>(digits + sizeof digits - first);
  std::memcpy(to, first, count);
  return to + count;
}

inline char* put_decimal(std::int64_t number, char* to) {
  if (number >= 0) return put_decimal(static_cast<std::uint64_t>(number), to);
  *to = '-';
  return put_decimal(~static_cast<std::uint64_t>(number) + 1, to + 1);
}

}  // namespace watcher
