// One file's content, compressed into another, by zlib or libzstd.
//
// Any thread; takes as long as it takes.
#pragma once

#include "runtime/base/result.h"

namespace watcher {

enum class Compression { kNone, kGzip, kZstd };

constexpr const char* suffix_of(Compression compression) {
  return compression == Compression::kGzip ? ".gz" : compression == Compression::kZstd ? ".zst" : "";
}

/// From the beginning of one to the current end of the other; kNone copies.
Result<void> compress_file(Compression compression, int from_fd, int to_fd);

}  // namespace watcher
