// Text of bounded length on the stack, for paths and log lines where nothing may be allocated.
//
// Zone: signal-safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watcher {

template <std::size_t kCapacity>
class TextBuffer {
 public:
  TextBuffer() { text_[0] = '\0'; }

  TextBuffer& add(const char* text) {
    while (*text != '\0') put(*text++);
    return *this;
  }
  TextBuffer& add_decimal(std::uint64_t value) { return add_number(value, 10); }
  TextBuffer& add_hex(std::uint64_t value) { return add_number(value, 16); }

  const char* c_str() const { return text_; }
  std::size_t size() const { return size_; }
  /// Something did not fit: the text is not to be used.
  bool overflowed() const { return overflowed_; }

 private:
  TextBuffer& add_number(std::uint64_t value, unsigned base) {
    char digits[20];
    int count = 0;
    do {
      digits[count++] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    while (count > 0) put(digits[--count]);
    return *this;
  }
  void put(char character) {
    if (size_ + 1 >= kCapacity) {
      overflowed_ = true;
      return;
    }
    text_[size_++] = character;
    text_[size_] = '\0';
  }

  char text_[kCapacity];
  std::size_t size_ = 0;
  bool overflowed_ = false;
};

}  // namespace watcher
