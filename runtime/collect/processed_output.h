// The way of events behind the processors: into the output, into the summary, and back from the spools that killed
// collectors have left.
//
// One thread, the collector's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/output/journal/jsonl_sink.h"
#include "runtime/output/summary.h"
#include "runtime/process/processor_chain.h"

namespace watcher {

class Collector;

class ProcessedOutput {
 public:
  /// Everything is borrowed; `chain` may be null.
  ProcessedOutput(ProcessorChain* chain, JsonlSink* sink, Summary* summary, std::uint64_t run_id)
      : chain_(chain), sink_(sink), summary_(summary), run_id_(run_id) {}

  /// Writes what has gone through; returns how many events that were.
  std::uint64_t write();
  /// Sends what dead collectors have left through our processors, or writes it as it is when there are none.
  void recover(int directory_fd);
  /// Waits until what was drained so far is through, as long as the processors get on and nobody asks us to end; the
  /// rings are drained meanwhile.
  void settle(Collector& collector);
  /// Ends the processors. What they did not get through stays in its spool.
  void stop();
  /// Adds what came since the last time to the summary.
  void report();
  /// Events that processors failed for, so far.
  std::uint64_t failed() const;
  /// What the user should be told at the end.
  std::vector<std::string> complaints() const;

 private:
  void account(const ProcessedEvents& events, std::uint64_t written);
  void write_as_it_is(Spool& spool);

  ProcessorChain* chain_;
  JsonlSink* sink_;
  Summary* summary_;
  std::uint64_t run_id_;
  std::vector<ProcessorCount> reported_;
  bool gave_up_ = false;
  std::uint64_t left_ = 0;
};

}  // namespace watcher
