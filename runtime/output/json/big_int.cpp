#include "runtime/output/json/big_int.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace watcher {
namespace {

constexpr std::uint32_t kNineDigits = 1'000'000'000;

bool is_negative(std::string_view bytes) {
  return !bytes.empty() && (bytes.back() & 0x80) != 0;
}

std::uint8_t byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

/// Absolute value in 32-bit limbs, least significant first.
std::vector<std::uint32_t> magnitude(std::string_view bytes) {
  const bool negative = is_negative(bytes);
  std::vector<std::uint32_t> limbs((bytes.size() + 3) / 4, negative ? ~0u : 0u);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const unsigned shift = 8 * (i % 4);
    limbs[i / 4] = (limbs[i / 4] & ~(0xffu << shift)) | static_cast<std::uint32_t>(byte_at(bytes, i)) << shift;
  }
  if (negative) {
    std::uint64_t carry = 1;
    for (std::uint32_t& limb : limbs) {
      carry += static_cast<std::uint32_t>(~limb);
      limb = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) limbs.push_back(static_cast<std::uint32_t>(carry));
  }
  while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
  return limbs;
}

std::uint32_t divide(std::vector<std::uint32_t>* limbs, std::uint32_t divisor) {
  std::uint64_t remainder = 0;
  for (auto limb = limbs->rbegin(); limb != limbs->rend(); ++limb) {
    remainder = remainder << 32 | *limb;
    *limb = static_cast<std::uint32_t>(remainder / divisor);
    remainder %= divisor;
  }
  while (!limbs->empty() && limbs->back() == 0) limbs->pop_back();
  return static_cast<std::uint32_t>(remainder);
}

std::string decimal(std::vector<std::uint32_t> limbs) {
  std::string digits;
  while (!limbs.empty()) {
    std::uint32_t group = divide(&limbs, kNineDigits);
    for (int i = 0; i < 9; ++i, group /= 10) digits.push_back(static_cast<char>('0' + group % 10));
  }
  while (digits.size() > 1 && digits.back() == '0') digits.pop_back();
  std::reverse(digits.begin(), digits.end());
  return digits.empty() ? "0" : digits;
}

std::string hexadecimal(const std::vector<std::uint32_t>& limbs) {
  std::string digits;
  for (auto limb = limbs.rbegin(); limb != limbs.rend(); ++limb)
    for (int shift = 28; shift >= 0; shift -= 4) digits.push_back("0123456789abcdef"[*limb >> shift & 0xf]);
  return "0x" + digits.substr(std::min(digits.find_first_not_of('0'), digits.size()));
}

}  // namespace

std::optional<std::int64_t> small_integer(std::string_view bytes) {
  if (bytes.size() > sizeof(std::int64_t)) return std::nullopt;
  std::int64_t value = is_negative(bytes) ? -1 : 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  return value;
}

std::string integer_text(std::string_view bytes) {
  const std::vector<std::uint32_t> limbs = magnitude(bytes);
  const std::string digits = bytes.size() <= kMaxDecimalBytes ? decimal(limbs) : hexadecimal(limbs);
  return is_negative(bytes) ? "-" + digits : digits;
}

}  // namespace watcher
