#include "runtime/capture/bulk/bulk_compare.h"

#include <immintrin.h>

namespace watcher {
namespace {

constexpr std::uint64_t kLow = 0x7f7f7f7f7f7f7f7f;

/// `differs` has a bit for each byte: is one set of each eight?
bool in_every_word(std::uint64_t differs) {
  return ((((differs & kLow) + kLow) | differs) | kLow) == ~std::uint64_t{0};
}

// 16 bytes at a time: every x86-64 processor.

__m128i equal_bytes(const std::byte* left, const std::byte* right, int part) {
  return _mm_cmpeq_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(left) + part),
                        _mm_loadu_si128(reinterpret_cast<const __m128i*>(right) + part));
}

std::uint64_t mask(__m128i bytes) {
  return static_cast<std::uint32_t>(_mm_movemask_epi8(bytes));
}

std::size_t equal_blocks_16(const std::byte* left, const std::byte* right, std::size_t blocks) {
  for (std::size_t i = 0; i < blocks; ++i, left += kCompareBlockBytes, right += kCompareBlockBytes) {
    const __m128i low = _mm_and_si128(equal_bytes(left, right, 0), equal_bytes(left, right, 1));
    const __m128i high = _mm_and_si128(equal_bytes(left, right, 2), equal_bytes(left, right, 3));
    if (mask(_mm_and_si128(low, high)) != 0xffff) return i;
  }
  return blocks;
}

std::size_t differing_blocks_16(const std::byte* left, const std::byte* right, std::size_t blocks,
                                std::uint64_t* bytes) {
  std::uint64_t equal = 0;
  std::size_t i = 0;
  for (; i < blocks; ++i, left += kCompareBlockBytes, right += kCompareBlockBytes) {
    const __m128i a = equal_bytes(left, right, 0), b = equal_bytes(left, right, 1);
    const __m128i c = equal_bytes(left, right, 2), d = equal_bytes(left, right, 3);
    if (!in_every_word(~(mask(a) | mask(b) << 16 | mask(c) << 32 | mask(d) << 48))) break;
    const __m128i negative = _mm_add_epi8(_mm_add_epi8(a, b), _mm_add_epi8(c, d));  // a count a column
    const __m128i sums = _mm_sad_epu8(_mm_sub_epi8(_mm_setzero_si128(), negative), _mm_setzero_si128());
    equal += static_cast<std::uint64_t>(_mm_cvtsi128_si64(sums)) +
             static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_srli_si128(sums, 8)));
  }
  *bytes = i * kCompareBlockBytes - equal;
  return i;
}

// 32 bytes at a time.

#define WATCHER_AVX2 __attribute__((target("avx2,popcnt")))

WATCHER_AVX2 std::uint64_t equal_mask(const std::byte* left, const std::byte* right, int part) {
  const __m256i equal = _mm256_cmpeq_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(left) + part),
                                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(right) + part));
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(equal));
}

WATCHER_AVX2 std::size_t equal_blocks_32(const std::byte* left, const std::byte* right, std::size_t blocks) {
  for (std::size_t i = 0; i < blocks; ++i, left += kCompareBlockBytes, right += kCompareBlockBytes)
    if ((equal_mask(left, right, 0) & equal_mask(left, right, 1)) != 0xffffffff) return i;
  return blocks;
}

WATCHER_AVX2 std::size_t differing_blocks_32(const std::byte* left, const std::byte* right, std::size_t blocks,
                                             std::uint64_t* bytes) {
  std::uint64_t changed = 0;
  std::size_t i = 0;
  for (; i < blocks; ++i, left += kCompareBlockBytes, right += kCompareBlockBytes) {
    const std::uint64_t differs = ~(equal_mask(left, right, 0) | equal_mask(left, right, 1) << 32);
    if (!in_every_word(differs)) break;
    changed += static_cast<std::uint64_t>(__builtin_popcountll(differs));
  }
  *bytes = changed;
  return i;
}

// 64 bytes at a time.

#define WATCHER_AVX512 __attribute__((target("avx512bw,popcnt")))

WATCHER_AVX512 std::size_t equal_blocks_64(const std::byte* left, const std::byte* right, std::size_t blocks) {
  for (std::size_t i = 0; i < blocks; ++i, left += kCompareBlockBytes, right += kCompareBlockBytes)
    if (_mm512_cmpneq_epi64_mask(_mm512_loadu_si512(left), _mm512_loadu_si512(right)) != 0) return i;
  return blocks;
}

WATCHER_AVX512 std::size_t differing_blocks_64(const std::byte* left, const std::byte* right, std::size_t blocks,
                                               std::uint64_t* bytes) {
  std::uint64_t changed = 0;
  std::size_t i = 0;
  for (; i < blocks; ++i, left += kCompareBlockBytes, right += kCompareBlockBytes) {
    const __m512i a = _mm512_loadu_si512(left), b = _mm512_loadu_si512(right);
    if (_mm512_cmpneq_epi64_mask(a, b) != 0xff) break;
    changed += static_cast<std::uint64_t>(__builtin_popcountll(_mm512_cmpneq_epi8_mask(a, b)));
  }
  *bytes = changed;
  return i;
}

}  // namespace

Comparison comparison(unsigned most_bytes) {
  if (most_bytes >= 64 && __builtin_cpu_supports("avx512bw") != 0) return {equal_blocks_64, differing_blocks_64};
  const bool has_32 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("popcnt") != 0;
  if (most_bytes >= 32 && has_32) return {equal_blocks_32, differing_blocks_32};
  return {equal_blocks_16, differing_blocks_16};
}

}  // namespace watcher
