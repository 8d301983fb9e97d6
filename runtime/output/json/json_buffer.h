// Text that grows and is reused: what lines are rendered into.
//
// One thread at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

namespace watcher {

class JsonBuffer {
 public:
  std::string_view text() const { return {bytes_.get(), size_}; }
  std::size_t size() const { return size_; }
  void clear() { size_ = 0; }

  /// Where the next `most` bytes may be written. Those that were are then added.
  char* room(std::size_t most) {
    if (most > capacity_ - size_) [[unlikely]]
      enlarge(most);
    return bytes_.get() + size_;
  }
  void add(std::size_t bytes) { size_ += bytes; }
  void append(std::string_view text) {
    if (text.empty()) return;
    std::memcpy(room(text.size()), text.data(), text.size());
    size_ += text.size();
  }
  void append(char character) {
    *room(1) = character;
    ++size_;
  }
  void insert(std::size_t at, std::string_view text) {
    room(text.size());
    char* const place = bytes_.get() + at;
    std::memmove(place + text.size(), place, size_ - at);
    std::memcpy(place, text.data(), text.size());
    size_ += text.size();
  }

 private:
  void enlarge(std::size_t most) {
    const std::size_t wanted = std::max<std::size_t>({4096, 2 * capacity_, size_ + most});
    std::unique_ptr<char[]> larger(new char[wanted]);
    if (size_ != 0) std::memcpy(larger.get(), bytes_.get(), size_);
    bytes_ = std::move(larger);
    capacity_ = wanted;
  }

  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace watcher
