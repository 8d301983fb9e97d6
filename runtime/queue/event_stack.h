// The end of an event's payload: who called, and in which span. Part of event.h: include that.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/queue/event.h"

namespace watcher {

constexpr std::uint32_t padded8(std::uint32_t bytes) {
  return (bytes + 7u) & ~7u;
}

/// With kHasStack, a payload ends with a StackHeader and `count` PlaceBlob references, innermost caller first, padded
/// to 8, then a SpanBlob if `spans` is 1, then `frames` NativeFrames (of a BulkBlob).
struct StackHeader {
  std::uint32_t count;
  std::uint16_t spans;
  std::uint16_t frames;
};
/// OpenTelemetry's numbers of the running span, as W3C's trace context has them.
struct SpanBlob {
  std::uint8_t trace_id[16];
  std::uint8_t span_id[8];
  std::uint8_t flags;
  std::uint8_t known;  // 0: there is none
  std::uint8_t reserved[6];
};
static_assert(sizeof(SpanBlob) == 32);
inline constexpr std::uint32_t kMaxStack = 64;

/// Of a stack's and a span's part of a payload.
constexpr std::uint32_t stack_bytes(std::uint32_t count, const SpanBlob& span) {
  if (count == 0 && span.known == 0) return 0;
  return padded8(static_cast<std::uint32_t>(sizeof(StackHeader)) + count * 4) +
         (span.known != 0 ? static_cast<std::uint32_t>(sizeof span) : 0);
}
/// Writes that part. Signal context.
inline void put_stack(std::byte* at, const DictionaryRef* places, std::uint32_t count, const SpanBlob& span) {
  *reinterpret_cast<StackHeader*>(at) = {count, span.known, 0};
  for (std::uint32_t i = 0; i < count; ++i) reinterpret_cast<DictionaryRef*>(at + sizeof(StackHeader))[i] = places[i];
  if (span.known != 0)
    *reinterpret_cast<SpanBlob*>(at + padded8(static_cast<std::uint32_t>(sizeof(StackHeader)) + count * 4)) = span;
}

}  // namespace watcher
