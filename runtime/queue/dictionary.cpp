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

std::uint32_t pack(BlobKind kind, std::uint32_t length) {
  return static_cast<std::uint32_t>(kind) << 24 | length;
}

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

bool is_blob(const std::byte* heap, DictionaryRef ref, std::uint32_t hash, std::uint32_t packed, const void* bytes) {
  const auto* blob = reinterpret_cast<const BlobHeader*>(heap + std::size_t{ref} * 8);
  return blob->hash == hash && blob->kind_and_length == packed &&
         equal_bytes(reinterpret_cast<const std::byte*>(blob + 1), bytes, packed & kMaxBlobBytes);
}

}  // namespace

// A compare-exchange, because a fetch_add that must be taken back could hand the same units to two producers.
DictionaryRef Dictionary::reserve(std::uint32_t units) {
  std::uint32_t at = header_->used_units.load(std::memory_order_relaxed);
  do {
    if (at == 0 || at > heap_units_ || units > heap_units_ - at) return 0;
  } while (!header_->used_units.compare_exchange_weak(at, at + units, std::memory_order_relaxed));
  return at;
}

DictionaryRef Dictionary::append(std::uint32_t hash, std::uint32_t kind_and_length, const void* bytes) {
  const std::uint32_t length = kind_and_length & kMaxBlobBytes;
  const DictionaryRef at = reserve(1 + (length + 7) / 8);
  if (at == 0) return 0;
  auto* blob = reinterpret_cast<BlobHeader*>(heap_ + std::size_t{at} * 8);
  blob->hash = hash;
  blob->kind_and_length = kind_and_length;
  copy_bytes(reinterpret_cast<std::byte*>(blob + 1), bytes, length);
  return at;
}

DictionaryRef Dictionary::intern(BlobKind kind, const void* bytes, std::uint32_t length) {
  if (header_ == nullptr || length > kMaxBlobBytes) return 0;
  const auto hash = static_cast<std::uint32_t>(XXH64(bytes, length, static_cast<std::uint64_t>(kind)));
  const std::uint32_t packed = pack(kind, length);
  DictionaryRef mine = 0;
  for (std::uint32_t probe = 0; probe < kMaxProbes; ++probe) {
    std::atomic<std::uint32_t>& entry = header_->index[(hash + probe) % DictionaryHeader::kIndexEntries];
    std::uint32_t ref = entry.load(std::memory_order_acquire);
    if (ref == 0) {
      if (mine == 0 && (mine = append(hash, packed, bytes)) == 0) break;
      // Release: the blob is whole before its entry is seen. Acquire: the winner's blob is, when we lost the race.
      if (entry.compare_exchange_strong(ref, mine, std::memory_order_acq_rel, std::memory_order_acquire)) return mine;
    }
    if (is_blob(heap_, ref, hash, packed, bytes)) return ref;
  }
  header_->refused.fetch_add(1, std::memory_order_relaxed);
  return 0;
}

DictionaryRef Dictionary::lookup(BlobKind kind, const void* bytes, std::uint32_t length) const {
  if (header_ == nullptr || length > kMaxBlobBytes) return 0;
  const auto hash = static_cast<std::uint32_t>(XXH64(bytes, length, static_cast<std::uint64_t>(kind)));
  for (std::uint32_t probe = 0; probe < kMaxProbes; ++probe) {
    const std::uint32_t ref =
        header_->index[(hash + probe) % DictionaryHeader::kIndexEntries].load(std::memory_order_acquire);
    if (ref == 0) return 0;
    if (is_blob(heap_, ref, hash, pack(kind, length), bytes)) return ref;
  }
  return 0;
}

std::string_view Dictionary::find(BlobKind kind, DictionaryRef ref) const {
  if (header_ == nullptr || ref == 0 || ref >= heap_units_) return {};
  const auto* blob = reinterpret_cast<const BlobHeader*>(heap_ + std::size_t{ref} * 8);
  const std::uint32_t packed = blob->kind_and_length;
  const std::uint32_t length = packed & kMaxBlobBytes;
  if (packed >> 24 != static_cast<std::uint32_t>(kind)) return {};
  if (std::uint64_t{ref} + 1 + (length + 7) / 8 > heap_units_) return {};
  return {reinterpret_cast<const char*>(blob + 1), length};
}

std::uint32_t Dictionary::used_units() const {
  const std::uint32_t units = header_->used_units.load(std::memory_order_acquire);
  return units < heap_units_ ? units : heap_units_;
}

}  // namespace watcher
