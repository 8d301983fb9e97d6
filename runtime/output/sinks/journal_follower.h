// Feeds one sink from the journal. What was delivered is told by a position in the file OUTPUT/<sink>.position, so that
// whoever comes next (another collector of the run, the next run) goes on there. The lock on that file makes one of
// several collectors the follower.
//
// Threads: one owner; the sink and the reader belong to the thread behind it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "runtime/base/result.h"
#include "runtime/output/journal/journal_reader.h"
#include "runtime/output/sinks/sink.h"
#include "runtime/output/worker_thread.h"

namespace watcher {

class JournalFollower {
 public:
  /// Without a position of an earlier follower it begins with what is written from now on.
  static Result<std::unique_ptr<JournalFollower>> open(int directory_fd, std::unique_ptr<Sink> sink);
  JournalFollower(const JournalFollower&) = delete;
  JournalFollower& operator=(const JournalFollower&) = delete;
  ~JournalFollower();

  /// Everything written so far is offered, within the sink's patience; the thread ends.
  void finish();
  const Sink& sink() const { return *sink_; }
  /// See RotatedFiles::spare.
  std::uint64_t first_file_in_use() const;

 private:
  enum class Turn { kMore, kSettling, kIdle, kRefused };  // settling: a file was put aside a moment ago

  JournalFollower(int directory_fd, std::unique_ptr<Sink> sink, UniqueFd file)
      : directory_fd_(directory_fd), sink_(std::move(sink)), file_(std::move(file)), reader_(directory_fd) {}

  static void* run(void* self);
  void loop();
  bool take_over();
  Turn turn();
  /// False when it is time to end.
  bool pause(Turn after);
  void write_position();

  int directory_fd_;
  std::unique_ptr<Sink> sink_;
  UniqueFd file_;
  bool follows_ = false;
  bool looked_last_ = false;
  std::uint64_t pause_ms_ = 0;
  JournalReader reader_;
  WorkerThread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::uint64_t> end_ns_;  // set: to end when all is delivered, by then at the latest
};

}  // namespace watcher
