#include "runtime/enrich/delta.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

namespace watcher {
namespace {

constexpr std::size_t kBlock = 64;
constexpr std::size_t kSmallBlock = 16;

void add_run(std::uint64_t offset, std::uint64_t length, std::vector<DeltaRun>* runs) {
  if (!runs->empty() && runs->back().offset + runs->back().length == offset)
    runs->back().length += length;
  else
    runs->push_back({offset, length});
}

/// `mask` has a bit for each differing byte at `offset`.
std::uint64_t add_mask(std::uint64_t mask, std::uint64_t offset, std::vector<DeltaRun>* runs) {
  std::uint64_t changed = 0;
  while (mask != 0) {
    const int first = __builtin_ctzll(mask);
    const std::uint64_t behind = ~(mask >> first);
    const int length = behind != 0 ? __builtin_ctzll(behind) : 64;
    add_run(offset + static_cast<std::uint64_t>(first), static_cast<std::uint64_t>(length), runs);
    changed += static_cast<std::uint64_t>(length);
    mask = first + length < 64 ? mask >> (first + length) << (first + length) : 0;
  }
  return changed;
}

__m128i equal_bytes(const char* left, const char* right) {
  return _mm_cmpeq_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(left)),
                        _mm_loadu_si128(reinterpret_cast<const __m128i*>(right)));
}

std::uint64_t differing_16(const char* left, const char* right) {
  return static_cast<std::uint64_t>(_mm_movemask_epi8(equal_bytes(left, right))) ^ 0xffffu;
}

std::uint64_t differing_64(const char* left, const char* right) {
  return differing_16(left, right) | differing_16(left + 16, right + 16) << 16 |
         differing_16(left + 32, right + 32) << 32 | differing_16(left + 48, right + 48) << 48;
}

std::size_t equal_blocks(const char* left, const char* right, std::size_t blocks) {
  for (std::size_t done = 0; done < blocks; ++done, left += kBlock, right += kBlock) {
    const __m128i low = _mm_and_si128(equal_bytes(left, right), equal_bytes(left + 16, right + 16));
    const __m128i high = _mm_and_si128(equal_bytes(left + 32, right + 32), equal_bytes(left + 48, right + 48));
    if (_mm_movemask_epi8(_mm_and_si128(low, high)) != 0xffff) return done;
  }
  return blocks;
}

__attribute__((target("avx2"))) __m256i differences_32(const char* left, const char* right) {
  return _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(left)),
                          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(right)));
}

__attribute__((target("avx2"))) std::uint64_t differing_64_avx2(const char* left, const char* right) {
  const __m256i none = _mm256_setzero_si256();
  const auto equal = [](__m256i bytes) __attribute__((target("avx2"))) {
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes));
  };
  const std::uint64_t low = equal(_mm256_cmpeq_epi8(differences_32(left, right), none));
  const std::uint64_t high = equal(_mm256_cmpeq_epi8(differences_32(left + 32, right + 32), none));
  return ~(high << 32 | low);
}

__attribute__((target("avx2"))) std::size_t equal_blocks_avx2(const char* left, const char* right, std::size_t blocks) {
  for (std::size_t done = 0; done < blocks; ++done, left += kBlock, right += kBlock) {
    const __m256i either = _mm256_or_si256(differences_32(left, right), differences_32(left + 32, right + 32));
    if (!_mm256_testz_si256(either, either)) return done;
  }
  return blocks;
}

/// How blocks of 64 bytes are compared on this processor.
struct Comparison {
  std::uint64_t (*differing)(const char*, const char*);
  std::size_t (*equal)(const char*, const char*, std::size_t blocks);
};

Comparison comparison(bool wide) {
  return wide ? Comparison{differing_64_avx2, equal_blocks_avx2} : Comparison{differing_64, equal_blocks};
}

/// Returns where the whole blocks end.
std::size_t find_in_blocks(const char* before, const char* after, std::size_t length, std::vector<DeltaRun>* runs,
                           bool wide, std::uint64_t* changed) {
  const Comparison compare = comparison(wide);
  std::size_t at = 0;
  while (at + kBlock <= length) {
    const std::uint64_t mask = compare.differing(before + at, after + at);
    *changed += add_mask(mask, at, runs);
    at += kBlock;
    if (mask == 0 && at + kBlock <= length)
      at += kBlock * compare.equal(before + at, after + at, (length - at) / kBlock);
  }
  return at;
}

}  // namespace

bool has_wide_compare() {
  return __builtin_cpu_supports("avx2") != 0;
}

std::uint64_t find_runs(const char* before, const char* after, std::size_t length, std::vector<DeltaRun>* runs,
                        bool wide) {
  std::uint64_t changed = 0;
  std::size_t at = length < kBlock ? 0 : find_in_blocks(before, after, length, runs, wide, &changed);
  for (; at + kSmallBlock <= length; at += kSmallBlock)
    changed += add_mask(differing_16(before + at, after + at), at, runs);
  if (at < length) {
    char left[kSmallBlock] = {};
    char right[kSmallBlock] = {};
    std::memcpy(left, before + at, length - at);
    std::memcpy(right, after + at, length - at);
    changed += add_mask(differing_16(left, right), at, runs);
  }
  return changed;
}

std::string_view canonical_bytes(const ValueView& value) {
  switch (value.kind) {
    case ValueKind::kUnbound:
    case ValueKind::kNone:
      return {};
    case ValueKind::kBool:
    case ValueKind::kInt:
    case ValueKind::kFloat:
      return {reinterpret_cast<const char*>(&value.word), sizeof value.word};
    default:
      return value.bytes;
  }
}

void compare(const ValueView& before, const ValueView& after, Delta* delta) {
  delta->before = canonical_bytes(before);
  delta->after = canonical_bytes(after);
  delta->size_before = is_inline(before.kind) ? delta->before.size() : before.total;
  delta->size_after = is_inline(after.kind) ? delta->after.size() : after.total;
  delta->runs.clear();
  const std::size_t common = std::min(delta->before.size(), delta->after.size());
  delta->changed_bytes = find_runs(delta->before.data(), delta->after.data(), common, &delta->runs);
}

void compare(const EventView& event, Delta* delta) {
  delta->ranges.clear();
  if (!event.is_bulk) return compare(event.before, event.after, delta);
  delta->before = event.before.bytes;
  delta->after = event.after.bytes;
  delta->size_before = delta->size_after = event.before.total;
  delta->changed_bytes = event.changed_bytes;
  delta->ranges = event.ranges;
  delta->runs.clear();
  std::vector<DeltaRun> runs;
  std::uint64_t at = 0;
  for (const BulkRange& range : event.ranges) {
    runs.clear();
    find_runs(delta->before.data() + at, delta->after.data() + at, range.kept, &runs);
    for (const DeltaRun& run : runs) delta->runs.push_back({at + run.offset, run.length});
    at += range.kept;
  }
}

void merge_runs(std::vector<DeltaRun>* runs, std::size_t most) {
  for (std::uint64_t gap = 16; runs->size() > most; gap *= 2) {
    std::size_t kept = 0;
    for (const DeltaRun run : *runs) {
      DeltaRun* last = kept != 0 ? &(*runs)[kept - 1] : nullptr;
      if (last != nullptr && run.offset - (last->offset + last->length) <= gap)
        last->length = run.offset + run.length - last->offset;
      else
        (*runs)[kept++] = run;
    }
    runs->resize(kept);
  }
}

}  // namespace watcher
