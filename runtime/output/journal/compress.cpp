#include "runtime/output/journal/compress.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/output/journal/own_file.h"

namespace watcher {
namespace {

constexpr std::size_t kBlockBytes = 128 * 1024;
constexpr int kGzipWindow = 15 + 16;  // the largest, in gzip's format
constexpr int kGzipMemory = 8;

Error failed(const char* step, int code) {
  return {code, std::string("compress: ") + step + ": " + strerror(code)};
}

std::uint64_t size_of(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

/// Writes at the end of a file, within RLIMIT_FSIZE.
class Output {
 public:
  explicit Output(int fd) : fd_(fd), room_(room_below_limit(size_of(fd))) {}
  Result<void> write(std::string_view bytes) {
    if (bytes.size() > room_) return failed("write", EFBIG);
    room_ -= bytes.size();
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return failed("write", written < 0 ? errno : EIO);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
  }

 private:
  int fd_;
  std::uint64_t room_;
};

/// Takes the input block by block, the last one marked; an empty file is one empty block.
class Packer {
 public:
  virtual ~Packer() = default;
  virtual Result<void> pack(std::string_view block, bool last, Output* output) = 0;
};

class Copier final : public Packer {
 public:
  Result<void> pack(std::string_view block, bool, Output* output) override { return output->write(block); }
};

class Gzip final : public Packer {
 public:
  Gzip()
      : ready_(deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindow, kGzipMemory,
                            Z_DEFAULT_STRATEGY) == Z_OK) {}
  ~Gzip() override { deflateEnd(&stream_); }
  Result<void> pack(std::string_view block, bool last, Output* output) override {
    if (!ready_) return failed("zlib", ENOMEM);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(block.data()));
    stream_.avail_in = static_cast<uInt>(block.size());
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(packed_.data());
      stream_.avail_out = static_cast<uInt>(packed_.size());
      deflate(&stream_, last ? Z_FINISH : Z_NO_FLUSH);
      if (auto written = output->write({packed_.data(), packed_.size() - stream_.avail_out}); !written) return written;
    } while (stream_.avail_out == 0);
    return {};
  }

 private:
  z_stream stream_{};
  bool ready_;
  std::vector<char> packed_ = std::vector<char>(kBlockBytes);
};

class Zstd final : public Packer {
 public:
  Zstd() : context_(ZSTD_createCCtx(), ZSTD_freeCCtx) {
    if (context_ != nullptr) ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
  }
  Result<void> pack(std::string_view block, bool last, Output* output) override {
    if (context_ == nullptr) return failed("zstd", ENOMEM);
    ZSTD_inBuffer in{block.data(), block.size(), 0};
    for (bool done = false; !done;) {
      ZSTD_outBuffer out{packed_.data(), packed_.size(), 0};
      const std::size_t left = ZSTD_compressStream2(context_.get(), &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
      if (ZSTD_isError(left) != 0) return failed(ZSTD_getErrorName(left), EIO);
      if (auto written = output->write({packed_.data(), out.pos}); !written) return written;
      done = last ? left == 0 : in.pos == in.size;
    }
    return {};
  }

 private:
  std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> context_;
  std::vector<char> packed_ = std::vector<char>(kBlockBytes);
};

std::unique_ptr<Packer> packer_for(Compression compression) {
  if (compression == Compression::kGzip) return std::make_unique<Gzip>();
  if (compression == Compression::kZstd) return std::make_unique<Zstd>();
  return std::make_unique<Copier>();
}

}  // namespace

Result<void> compress_file(Compression compression, int from_fd, int to_fd) {
  const std::unique_ptr<Packer> packer = packer_for(compression);
  Output output(to_fd);
  std::vector<char> block(kBlockBytes);
  for (std::uint64_t offset = 0;;) {
    const ssize_t got = ::pread(from_fd, block.data(), block.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read", errno);
    offset += static_cast<std::uint64_t>(got);
    Result<void> packed = packer->pack({block.data(), static_cast<std::size_t>(got)}, got == 0, &output);
    if (!packed || got == 0) return packed;
  }
}

}  // namespace watcher
