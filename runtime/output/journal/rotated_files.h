// What happens to events.jsonl once it was put aside: compressed, and removed when more are kept than asked for. On a
// thread of its own, so that collecting never waits for it; every collector of a directory may do it, for each file the
// one that holds its lock does.
//
// Threads: one owner; the thread behind it touches only what the mutex guards, and the directory.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "runtime/output/journal/compress.h"
#include "runtime/output/journal/rotated_names.h"
#include "runtime/output/worker_thread.h"

namespace watcher {

struct RotationRules {
  std::uint64_t size = 0;  // bytes from which on events.jsonl is put aside; 0: never by itself
  std::uint64_t keep = 0;  // files put aside that stay; 0: all
  Compression compression = Compression::kNone;
  bool sync = false;  // compressed files are forced to the disk before their originals go
};

class RotatedFiles {
 public:
  /// Files of this number and higher are still read by somebody: they stay as they are.
  using FirstInUse = std::function<std::uint64_t()>;

  RotatedFiles(int directory_fd, const RotationRules& rules) : directory_fd_(directory_fd), rules_(rules) {}
  RotatedFiles(const RotatedFiles&) = delete;
  RotatedFiles& operator=(const RotatedFiles&) = delete;
  ~RotatedFiles() { stop(); }

  /// Before the first look; without it no file is in use.
  void spare(FirstInUse first_in_use) { first_in_use_ = std::move(first_in_use); }
  /// A file was put aside, or may have been left by somebody who was killed.
  void look_soon();
  /// Returns when nothing is left to do, or what is left cannot be done now.
  void finish();

 private:
  enum class Outcome { kDone, kLater, kFailed };

  static void* run(void* self);
  void loop();
  void stop();
  /// True when a file has to be looked at again.
  bool look();
  Outcome compress(const RotatedFile& file);
  Outcome replace(const std::string& name, int file_fd);
  void remove_surplus(std::uint64_t first_in_use);

  int directory_fd_;
  RotationRules rules_;
  FirstInUse first_in_use_;
  WorkerThread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool wanted_ = false;
  bool stopping_ = false;
};

}  // namespace watcher
