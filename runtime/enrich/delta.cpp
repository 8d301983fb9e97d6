#include "runtime/enrich/delta.h"

#include <emmintrin.h>

#include <algorithm>
#include <cstring>

namespace watcher {
namespace {

constexpr std::size_t kBlock = 16;

void add_run(std::uint64_t offset, std::uint64_t length, std::vector<DeltaRun>* runs) {
  if (!runs->empty() && runs->back().offset + runs->back().length == offset)
    runs->back().length += length;
  else
    runs->push_back({offset, length});
}

/// `mask` has a bit for each differing byte at `offset`.
std::uint64_t add_mask(std::uint32_t mask, std::uint64_t offset, std::vector<DeltaRun>* runs) {
  const auto changed = static_cast<std::uint64_t>(__builtin_popcount(mask));
  while (mask != 0) {
    const int first = __builtin_ctz(mask);
    const int length = __builtin_ctz(~(mask >> first));
    add_run(offset + static_cast<std::uint64_t>(first), static_cast<std::uint64_t>(length), runs);
    mask &= ~(((1u << length) - 1) << first);
  }
  return changed;
}

std::uint32_t differing(const char* left, const char* right) {
  const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(left));
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(right));
  return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(a, b))) ^ 0xffffu;
}

}  // namespace

std::uint64_t find_runs(const char* before, const char* after, std::size_t length, std::vector<DeltaRun>* runs) {
  std::uint64_t changed = 0;
  std::size_t at = 0;
  for (; at + kBlock <= length; at += kBlock)
    if (const std::uint32_t mask = differing(before + at, after + at)) changed += add_mask(mask, at, runs);
  if (at < length) {
    char left[kBlock] = {};
    char right[kBlock] = {};
    std::memcpy(left, before + at, length - at);
    std::memcpy(right, after + at, length - at);
    changed += add_mask(differing(left, right), at, runs);
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
