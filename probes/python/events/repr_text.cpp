#include <string.h>

#include "probes/python/events/repr.h"

namespace watcher::python {
namespace {

constexpr std::string_view kCut = "...";

bool continues_sequence(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

/// Longest prefix of at most `limit` bytes that ends between two characters.
std::size_t whole_characters(const char* text, std::size_t size, std::size_t limit) {
  if (size <= limit) return size;
  while (limit > 0 && continues_sequence(text[limit])) --limit;
  return limit;
}

}  // namespace

void BoundedText::put(std::string_view text) {
  if (full_) return;
  const std::size_t bytes = whole_characters(text.data(), text.size(), left());
  memcpy(out_ + used_, text.data(), bytes);
  used_ += bytes;
  full_ = bytes < text.size();
}

void BoundedText::put_number(long long value) {
  char digits[24];
  char* at = digits + sizeof digits;
  auto rest = value < 0 ? 0ull - static_cast<unsigned long long>(value) : static_cast<unsigned long long>(value);
  do {
    *--at = static_cast<char>('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (value < 0) *--at = '-';
  put({at, static_cast<std::size_t>(digits + sizeof digits - at)});
}

void BoundedText::put_address(const void* address) {
  char digits[20];
  char* at = digits + sizeof digits;
  auto rest = reinterpret_cast<unsigned long>(address);
  do {
    *--at = "0123456789abcdef"[rest % 16];
    rest /= 16;
  } while (rest != 0);
  put("0x");
  put({at, static_cast<std::size_t>(digits + sizeof digits - at)});
}

std::size_t BoundedText::finish() {
  if (!full_ || room_ < kCut.size()) return used_;
  const std::size_t keep = whole_characters(out_, used_, room_ - kCut.size());
  memcpy(out_ + keep, kCut.data(), kCut.size());
  return used_ = keep + kCut.size();
}

}  // namespace watcher::python
