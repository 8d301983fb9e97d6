// Owner of a range of mapped memory. Any thread.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <utility>

namespace watcher {

class ScopedMmap {
 public:
  ScopedMmap() = default;
  ScopedMmap(void* address, std::size_t bytes) : address_(address), bytes_(bytes) {}
  ScopedMmap(ScopedMmap&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  ScopedMmap& operator=(ScopedMmap&& other) noexcept {
    if (this == &other) return *this;
    reset();
    address_ = std::exchange(other.address_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  ~ScopedMmap() { reset(); }

  std::byte* bytes() const { return static_cast<std::byte*>(address_); }
  std::size_t size() const { return bytes_; }
  explicit operator bool() const { return address_ != nullptr; }
  void* release() { return std::exchange(address_, nullptr); }

 private:
  void reset() {
    if (address_ != nullptr) ::munmap(address_, bytes_);
  }

  void* address_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace watcher
