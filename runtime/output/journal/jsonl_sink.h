// events.jsonl: whole lines only, appended by every collector that shares the directory, whatever the disk does.
//
// An advisory lock on the file covers each append. Under it a torn tail (a collector killed in its write, a disk that
// was full) is cut back to the last whole line, and nobody else's lines can come between the parts of a short write.
// Under it the file is also put aside when it is large enough. Whoever waited for the lock meanwhile sees that the name
// means another file now and goes there; so does he when somebody else renamed or removed the file. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/base/result.h"
#include "runtime/base/unique_fd.h"
#include "runtime/output/journal/background_sync.h"
#include "runtime/output/journal/rotated_files.h"

namespace watcher {

enum class FsyncPolicy { kNever, kBatch, kEvery };

class JsonlSink {
 public:
  /// `directory_fd` is borrowed and must outlive the sink.
  static Result<std::unique_ptr<JsonlSink>> open(int directory_fd, FsyncPolicy policy, const RotationRules& rules = {});

  /// Appends whole lines. Returns how many of them, the last ones, could not be written; never blocks for long.
  std::uint64_t append(std::string_view lines);
  /// Everything appended is on the disk, as far as the policy asks for it.
  Result<void> flush();
  /// Puts the file aside now, unless it is empty, or was put aside by somebody else.
  void rotate();
  RotatedFiles& rotated() { return rotated_; }

 private:
  class AppendLock;

  JsonlSink(int directory_fd, FsyncPolicy policy, const RotationRules& rules);

  Result<void> open_file();
  bool reopen_if_moved();
  bool lock_named_file(std::unique_ptr<AppendLock>* lock, std::size_t wanted_bytes);
  bool is_due(std::size_t more_bytes) const;
  bool put_file_aside();
  std::string_view lines_within(std::string_view lines, std::uint64_t size) const;
  void repair_tail();
  /// Bytes of `lines` that are in the file, whole lines; on an error `*error` is its errno.
  std::size_t append_once(std::string_view lines, int* error);
  std::size_t write_out(std::string_view lines, int* error);
  void after_write();

  int directory_fd_;
  FsyncPolicy policy_;
  std::uint64_t rotate_size_;
  RotatedFiles rotated_;
  UniqueFd file_;
  std::uint64_t known_size_ = 0;  // where our last append ended: a file that still ends there has a whole tail
  bool failing_ = false;          // the disk refuses: no more waiting until it takes something again
  int sync_error_ = 0;
  BackgroundSync background_;
};

}  // namespace watcher
