// Append-only, lock-free string table inside the ring file: names, places and variables are written once and referred
// to by events with 32 bits. It stands in the file so that a killed host's events can still be read.
//
// Zone: callable from signal handlers and without the interpreter's lock; no allocation, no lock, no libc call.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/queue/event.h"

namespace watcher {

enum class BlobKind : std::uint8_t { kString = 1, kVariable, kPlace, kContext, kSql, kFilter, kModule };

/// Open addressing; 0 free, else DictionaryRef. Release/acquire pair.
using DictionaryIndex = std::atomic<std::uint32_t>;

/// Fixed-size part of the ring file; the heap follows. All offsets are in units of 8 bytes from the start of the heap,
/// 0 is never used.
struct DictionaryHeader {
  static constexpr std::uint32_t kIndexEntries = 1u << 16;
  static constexpr std::uint32_t kMoreEntries = 1u << 19;
  std::atomic<std::uint32_t> used_units;    // next free heap unit; moved by producers, by compare-exchange
  std::uint32_t heap_units;                 // for whoever inspects the file
  std::atomic<std::uint32_t> refused;       // blobs that found no room: counted, shown in summary.json
  std::atomic<std::uint32_t> backed_units;  // the heap has blocks on the disk up to here; 0: all of it
  std::atomic<std::uint32_t> more_index;    // where in the heap a second index lies, once this one is full
  std::uint32_t reserved;
  DictionaryIndex index[kIndexEntries];
};

/// A view; borrowed memory, copyable.
class Dictionary {
 public:
  Dictionary() = default;
  /// `heap_bytes` is what the mapping holds; the file's own idea of it is never trusted when reading.
  Dictionary(DictionaryHeader* header, std::size_t heap_bytes)
      : header_(header),
        heap_(reinterpret_cast<std::byte*>(header + 1)),
        heap_units_(static_cast<std::uint32_t>(heap_bytes / 8)) {}

  static constexpr std::size_t bytes_for(std::size_t heap_bytes) { return sizeof(DictionaryHeader) + heap_bytes; }

  /// Returns the blob's reference, the same one for the same bytes; 0 when the table is full (counted in `refused`).
  DictionaryRef intern(BlobKind kind, const void* bytes, std::uint32_t length);
  /// The same without adding: 0 when the blob is not there.
  DictionaryRef lookup(BlobKind kind, const void* bytes, std::uint32_t length) const;
  DictionaryRef intern(std::string_view text) {
    return intern(BlobKind::kString, text.data(), static_cast<std::uint32_t>(text.size()));
  }
  template <class Blob>
  DictionaryRef intern(BlobKind kind, const Blob& blob) {
    return intern(kind, &blob, sizeof blob);
  }

  template <class Blob>
  DictionaryRef lookup(BlobKind kind, const Blob& blob) const {
    return lookup(kind, &blob, sizeof blob);
  }

  /// The blob's bytes, or an empty view when `ref` is 0, out of range, or of another kind. Safe on a damaged file.
  std::string_view find(BlobKind kind, DictionaryRef ref) const;
  std::string_view string(DictionaryRef ref) const { return find(BlobKind::kString, ref); }
  template <class Blob>
  bool read(BlobKind kind, DictionaryRef ref, Blob* out) const {
    const std::string_view bytes = find(kind, ref);
    if (bytes.size() != sizeof *out) return false;
    __builtin_memcpy(out, bytes.data(), sizeof *out);
    return true;
  }

  /// Heap units in use: what a forked child copies.
  std::uint32_t used_units() const;
  DictionaryHeader* header() const { return header_; }
  std::byte* heap() const { return heap_; }

 private:
  struct Search;
  DictionaryRef put(DictionaryIndex* index, std::uint32_t entries, Search* search);
  DictionaryRef search(const DictionaryIndex* index, std::uint32_t entries, const Search& search) const;
  DictionaryIndex* more_index() const;
  DictionaryIndex* add_index();
  bool back(std::uint32_t end_unit);
  DictionaryRef reserve(std::uint32_t units);
  DictionaryRef append(std::uint32_t hash, std::uint32_t kind_and_length, const void* bytes);

  DictionaryHeader* header_ = nullptr;
  std::byte* heap_ = nullptr;
  std::uint32_t heap_units_ = 0;
};

}  // namespace watcher
