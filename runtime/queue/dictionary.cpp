#include "runtime/queue/dictionary.h"

#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/queue/ring_header.h"

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

struct Dictionary::Search {
  Search(BlobKind kind, const void* from, std::uint32_t length)
      : bytes(from),
        hash(static_cast<std::uint32_t>(XXH64(from, length, static_cast<std::uint64_t>(kind)))),
        packed(pack(kind, length)) {}
  const void* bytes;
  std::uint32_t hash;
  std::uint32_t packed;
  DictionaryRef added = 0;  // the blob of ours that waits for an entry
  bool full = false;        // there was no room for it
};

// A hole of the file would be a SIGBUS on a full disk: the kernel is asked for blocks, and says when it has none.
bool Dictionary::back(std::uint32_t end_unit) {
  constexpr std::uint32_t kStepUnits = (1u << 20) / 8;
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, Linux 5.14
  std::uint32_t backed = header_->backed_units.load(std::memory_order_acquire);
  while (backed != 0 && backed < end_unit) {
    const std::uint32_t wanted = end_unit - backed > kStepUnits ? end_unit : backed + kStepUnits;
    const std::uint32_t until = wanted < heap_units_ ? wanted : heap_units_;
    const auto begin = reinterpret_cast<std::uintptr_t>(heap_ + std::size_t{backed} * 8) & ~(kPageBytes - 1);
    const auto end =
        (reinterpret_cast<std::uintptr_t>(heap_ + std::size_t{until} * 8) + kPageBytes - 1) & ~(kPageBytes - 1);
    if (raw_syscall(SYS_madvise, begin, end - begin, kPopulateWrite) != 0) return false;
    if (header_->backed_units.compare_exchange_strong(backed, until, std::memory_order_acq_rel)) backed = until;
  }
  return true;
}

// A compare-exchange, because a fetch_add that must be taken back could hand the same units to two producers.
DictionaryRef Dictionary::reserve(std::uint32_t units) {
  std::uint32_t at = header_->used_units.load(std::memory_order_relaxed);
  do {
    if (at == 0 || at > heap_units_ || units > heap_units_ - at || !back(at + units)) return 0;
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

/// 0: neither there nor an entry free where it would be.
DictionaryRef Dictionary::put(DictionaryIndex* index, std::uint32_t entries, Search* search) {
  for (std::uint32_t probe = 0; probe < kMaxProbes; ++probe) {
    DictionaryIndex& entry = index[(search->hash + probe) % entries];
    std::uint32_t ref = entry.load(std::memory_order_acquire);
    if (ref == 0) {
      if (search->added == 0) search->added = append(search->hash, search->packed, search->bytes);
      if (search->added == 0) return search->full = true, 0;
      // Release: the blob is whole before its entry is seen. Acquire: the winner's blob is, when we lost the race.
      if (entry.compare_exchange_strong(ref, search->added, std::memory_order_acq_rel, std::memory_order_acquire))
        return search->added;
    }
    if (is_blob(heap_, ref, search->hash, search->packed, search->bytes)) return ref;
  }
  return 0;
}

DictionaryRef Dictionary::search(const DictionaryIndex* index, std::uint32_t entries, const Search& search) const {
  for (std::uint32_t probe = 0; probe < kMaxProbes; ++probe) {
    const std::uint32_t ref = index[(search.hash + probe) % entries].load(std::memory_order_acquire);
    if (ref == 0) return 0;
    if (is_blob(heap_, ref, search.hash, search.packed, search.bytes)) return ref;
  }
  return 0;
}

DictionaryIndex* Dictionary::more_index() const {
  const std::uint32_t at = header_->more_index.load(std::memory_order_acquire);
  return at != 0 ? reinterpret_cast<DictionaryIndex*>(heap_ + std::size_t{at} * 8) : nullptr;
}

/// Null: there is no room. Two threads may both reserve one; what is reserved is zeros.
DictionaryIndex* Dictionary::add_index() {
  if (DictionaryIndex* known = more_index()) return known;
  const std::uint32_t at = reserve(DictionaryHeader::kMoreEntries * sizeof(DictionaryIndex) / 8);
  std::uint32_t none = 0;
  if (at != 0) header_->more_index.compare_exchange_strong(none, at, std::memory_order_acq_rel);
  return more_index();
}

DictionaryRef Dictionary::intern(BlobKind kind, const void* bytes, std::uint32_t length) {
  if (header_ == nullptr || length > kMaxBlobBytes) return 0;
  Search search(kind, bytes, length);
  DictionaryRef ref = put(header_->index, DictionaryHeader::kIndexEntries, &search);
  if (ref == 0 && !search.full)
    if (DictionaryIndex* more = add_index()) ref = put(more, DictionaryHeader::kMoreEntries, &search);
  if (ref == 0) header_->refused.fetch_add(1, std::memory_order_relaxed);
  return ref;
}

DictionaryRef Dictionary::lookup(BlobKind kind, const void* bytes, std::uint32_t length) const {
  if (header_ == nullptr || length > kMaxBlobBytes) return 0;
  const Search wanted(kind, bytes, length);
  const DictionaryRef ref = search(header_->index, DictionaryHeader::kIndexEntries, wanted);
  const DictionaryIndex* more = ref == 0 ? more_index() : nullptr;
  return more != nullptr ? search(more, DictionaryHeader::kMoreEntries, wanted) : ref;
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
