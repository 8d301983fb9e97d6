#include "runtime/output/journal/decompress.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <memory>
#include <string>
#include <vector>

namespace watcher {
namespace {

constexpr std::size_t kBlockBytes = 128 * 1024;
constexpr int kGzipWindow = 15 + 16;  // the largest, in gzip's format

using Take = std::function<bool(std::string_view)>;

enum class Step { kMore, kEnough, kDamaged };

/// Takes the packed input block by block. A file may hold several members or frames, one behind the other.
class Unpacker {
 public:
  virtual ~Unpacker() = default;
  virtual Step unpack(std::string_view block, const Take& take) = 0;
  /// All that was begun has ended.
  virtual bool complete() const { return true; }
};

class Copier final : public Unpacker {
 public:
  Step unpack(std::string_view block, const Take& take) override { return take(block) ? Step::kMore : Step::kEnough; }
};

class Gunzip final : public Unpacker {
 public:
  Gunzip() : ready_(inflateInit2(&stream_, kGzipWindow) == Z_OK) {}
  ~Gunzip() override { inflateEnd(&stream_); }
  bool complete() const override { return complete_; }

  Step unpack(std::string_view block, const Take& take) override {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(block.data()));
    stream_.avail_in = static_cast<uInt>(block.size());
    do {
      if (complete_ && stream_.avail_in != 0 && inflateReset(&stream_) != Z_OK) return Step::kDamaged;
      stream_.next_out = reinterpret_cast<Bytef*>(plain_.data());
      stream_.avail_out = static_cast<uInt>(plain_.size());
      const int result = ready_ ? inflate(&stream_, Z_NO_FLUSH) : Z_MEM_ERROR;
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) return Step::kDamaged;
      complete_ = result == Z_STREAM_END;
      if (!take({plain_.data(), plain_.size() - stream_.avail_out})) return Step::kEnough;
    } while (stream_.avail_in != 0 || stream_.avail_out == 0);
    return Step::kMore;
  }

 private:
  z_stream stream_{};
  bool ready_;
  bool complete_ = false;
  std::vector<char> plain_ = std::vector<char>(kBlockBytes);
};

class Unzstd final : public Unpacker {
 public:
  Unzstd() : context_(ZSTD_createDCtx(), ZSTD_freeDCtx) {}
  bool complete() const override { return complete_; }

  Step unpack(std::string_view block, const Take& take) override {
    ZSTD_inBuffer in{block.data(), block.size(), 0};
    for (bool filled = false; filled || in.pos < in.size;) {
      ZSTD_outBuffer out{plain_.data(), plain_.size(), 0};
      const std::size_t left = context_ ? ZSTD_decompressStream(context_.get(), &out, &in) : ~std::size_t{0};
      if (ZSTD_isError(left) != 0) return Step::kDamaged;
      complete_ = left == 0;
      if (!take({plain_.data(), out.pos})) return Step::kEnough;
      filled = out.pos == out.size && !complete_;
    }
    return Step::kMore;
  }

 private:
  std::unique_ptr<ZSTD_DCtx, std::size_t (*)(ZSTD_DCtx*)> context_;
  bool complete_ = false;
  std::vector<char> plain_ = std::vector<char>(kBlockBytes);
};

std::unique_ptr<Unpacker> unpacker_for(Compression compression) {
  if (compression == Compression::kGzip) return std::make_unique<Gunzip>();
  if (compression == Compression::kZstd) return std::make_unique<Unzstd>();
  return std::make_unique<Copier>();
}

}  // namespace

Result<void> decompress_file(Compression compression, int fd, const Take& take) {
  const std::unique_ptr<Unpacker> unpacker = unpacker_for(compression);
  std::vector<char> block(kBlockBytes);
  for (;;) {
    const ssize_t got = ::read(fd, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error{errno, strerror(errno)};
    if (got == 0) break;
    const Step step = unpacker->unpack({block.data(), static_cast<std::size_t>(got)}, take);
    if (step == Step::kEnough) return {};
    if (step == Step::kDamaged) return Error{EIO, "its compressed content is damaged"};
  }
  return unpacker->complete() ? Result<void>() : Error{EIO, "its compressed content ends too early"};
}

}  // namespace watcher
