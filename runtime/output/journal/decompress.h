// The content of a file that compress_file has made, block by block, by zlib or libzstd.
//
// Any thread; takes as long as it takes.
#pragma once

#include <functional>
#include <string_view>

#include "runtime/base/result.h"
#include "runtime/output/journal/compress.h"

namespace watcher {

/// From where the descriptor stands to the end, in blocks for `take`, until it returns false; kNone hands them on as
/// they are. A compressed file that ends too early, or is damaged, is an error.
Result<void> decompress_file(Compression compression, int fd, const std::function<bool(std::string_view)>& take);

}  // namespace watcher
