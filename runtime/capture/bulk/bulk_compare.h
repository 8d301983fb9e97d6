// Comparing memory in blocks of 64 bytes, at the speed of memory.
//
// The one part of the engine that uses vector registers. Fault handlers may call it, for the kernel has saved them, and
// whoever was called as a function; never what runs between two instructions of the host (store_commit.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace watcher {

inline constexpr std::size_t kCompareBlockBytes = 64;

struct Comparison {
  /// How many blocks from the first on are equal.
  std::size_t (*equal)(const std::byte* left, const std::byte* right, std::size_t blocks);
  /// How many from the first on differ in each of their 8-byte words, and in how many bytes.
  std::size_t (*differing)(const std::byte* left, const std::byte* right, std::size_t blocks, std::uint64_t* bytes);
};

/// With registers of so many bytes, or of those that the processor has: 64, 32 or 16.
Comparison comparison(unsigned most_bytes = 64);

}  // namespace watcher
