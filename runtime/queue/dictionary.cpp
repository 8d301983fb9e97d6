#include "runtime/queue/dictionary.h"

#define XXH_INLINE_ALL
#define XXH_VECTOR 0  // signal zone: scalar code only
#include <xxhash.h>

namespace watcher {
namespace {

struct BlobHeader {
  std::uint32_t hash;
  std::uint32_t kind_and_length;  // kind in the top byte
};
static_assert(sizeof(BlobHeader) == 8);

constexpr std::uint32_t kMaxBlobBytes = 0xffffff;
constexpr std::uint32_t kMaxProbes = 256;

std::uint32_t pack(BlobKind kind, std::uint32_t length) { return static_cast<std::uint32_t>(kind) << 24 | length; }

void copy_bytes(std::byte* to, const void* from, std::uint32_t length) {
  const auto* source = static_cast<const std::byte*>(from);
  for (std::uint32_t i = 0; i < length; ++i) to[i] = source[i];
}

bool equal_bytes(const std::byte* left, const void* right, std::uint32_t length) {
  const auto* other = static_cast<const std::byte*>(right);
  for (std::uint32_t i = 0; i < length; ++i)
    if (left[i] != other[i]) return false;
  return true;
}

}  // namespace

void Dictionary::format(std::size_t heap_bytes) {
  header_->heap_units = static_cast<std::uint32_t>(heap_bytes / 8);
  header_->used_units.store(1, std::memory_order_release);
}

DictionaryRef Dictionary::intern(BlobKind kind, const void* bytes, std::uint32_t length) {
  if (header_ == nullptr || length > kMaxBlobBytes) return 0;
  const auto hash = static_cast<std::uint32_t>(XXH64(bytes, length, static_cast<std::uint64_t>(kind)));
  DictionaryRef mine = 0;
  for (std::uint32_t probe = 0; probe < kMaxProbes; ++probe) {
    std::atomic<std::uint32_t>& entry = header_->index[(hash + probe) % DictionaryHeader::kIndexEntries];
    std::uint32_t ref = entry.load(std::memory_order_acquire);
    if (ref == 0) {
      if (mine == 0) {
        const std::uint32_t units = 1 + (length + 7) / 8;
        const std::uint32_t at = header_->used_units.fetch_add(units, std::memory_order_relaxed);
        if (at + units > header_->heap_units || at + units < at) {
          header_->used_units.fetch_sub(units, std::memory_order_relaxed);
          break;
        }
        auto* blob = reinterpret_cast<BlobHeader*>(heap_ + std::size_t{at} * 8);
        blob->hash = hash;
        blob->kind_and_length = pack(kind, length);
        copy_bytes(reinterpret_cast<std::byte*>(blob + 1), bytes, length);
        mine = at;
      }
      if (entry.compare_exchange_strong(ref, mine, std::memory_order_acq_rel, std::memory_order_acquire)) return mine;
    }
    const auto* blob = reinterpret_cast<const BlobHeader*>(heap_ + std::size_t{ref} * 8);
    if (blob->hash == hash && blob->kind_and_length == pack(kind, length) &&
        equal_bytes(reinterpret_cast<const std::byte*>(blob + 1), bytes, length))
      return ref;
  }
  header_->refused.fetch_add(1, std::memory_order_relaxed);
  return 0;
}

std::string_view Dictionary::find(BlobKind kind, DictionaryRef ref) const {
  if (header_ == nullptr || ref == 0 || ref >= header_->heap_units) return {};
  const auto* blob = reinterpret_cast<const BlobHeader*>(heap_ + std::size_t{ref} * 8);
  const std::uint32_t packed = blob->kind_and_length;
  const std::uint32_t length = packed & kMaxBlobBytes;
  if (packed >> 24 != static_cast<std::uint32_t>(kind)) return {};
  if (std::uint64_t{ref} + 1 + (length + 7) / 8 > header_->heap_units) return {};
  return {reinterpret_cast<const char*>(blob + 1), length};
}

std::size_t Dictionary::used_heap_bytes() const {
  const std::uint32_t units = header_->used_units.load(std::memory_order_acquire);
  return std::size_t{units < header_->heap_units ? units : header_->heap_units} * 8;
}

}  // namespace watcher
