// The sinks of a run besides events.jsonl, each with its follower.
//
// One thread, the collector's.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "config/options.h"
#include "runtime/base/result.h"
#include "runtime/output/sinks/journal_follower.h"
#include "runtime/output/summary.h"

namespace watcher {

class SinkSet {
 public:
  /// Opens those that the options name; what cannot be opened is told in `news`, too.
  Result<void> open(const Options& options, int directory_fd, RunTotals* news);
  /// All that is written is offered to all.
  void finish();
  /// Adds what was delivered since the last report.
  void report(RunTotals* news);
  /// See RotatedFiles::spare.
  std::uint64_t first_file_in_use() const;

 private:
  struct Entry {
    std::unique_ptr<JournalFollower> follower;
    std::uint64_t delivered = 0;  // as reported
    std::uint64_t rejected = 0;
  };
  Result<void> add(const char* name, Result<std::unique_ptr<Sink>> sink, int directory_fd, RunTotals* news);

  std::vector<Entry> entries_;
};

}  // namespace watcher
