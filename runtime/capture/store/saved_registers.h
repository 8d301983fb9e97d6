// The vector registers that the kernel has saved in a signal frame: an XSAVE area, whose layout is that of Intel's
// manual, volume 1, 13.4; where the kernel tells of it, arch/x86/include/uapi/asm/sigcontext.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watcher {

inline constexpr std::size_t kVectorsAt = 160;                 // xmm0…15
inline constexpr std::uint32_t kVectorBytes = 16;              // of one of them
inline constexpr unsigned kLowerHalves = 1, kUpperHalves = 2;  // components

template <class Word>
Word read_word(const std::byte* from) {
  Word word;
  __builtin_memcpy(&word, from, sizeof word);
  return word;
}

/// Is a component in the area? Without XSAVE (kUnknown) the lower halves are there all the same.
enum class Component { kUnknown, kZero, kThere };
inline Component component(const std::byte* area, unsigned number) {
  constexpr std::size_t kMagicAt = 464, kSavedAt = 472, kInUseAt = 512;
  constexpr std::uint32_t kMagic = 0x46505853;
  if (read_word<std::uint32_t>(area + kMagicAt) != kMagic) return Component::kUnknown;
  if ((read_word<std::uint64_t>(area + kSavedAt) >> number & 1) == 0) return Component::kUnknown;
  return (read_word<std::uint64_t>(area + kInUseAt) >> number & 1) == 0 ? Component::kZero : Component::kThere;
}

}  // namespace watcher
