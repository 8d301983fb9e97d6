// summary.json: what a run wrote, lost and watched, in one file that all collectors of the run keep together.
//
// What was counted since the last write is added to the file under a lock on the directory; the file is replaced by a
// rename. A file of another run is replaced outright. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/base/result.h"

namespace watcher {

struct ProcessSummary {
  std::uint32_t pid = 0;
  std::uint64_t started_ns = 0;  // with the pid the key: a process reported twice has one entry, the later one
  std::string host;
  std::string engine;
  std::string engine_reason;
  std::uint64_t dropped = 0;
  std::uint64_t blocked = 0;
  std::uint64_t neighbour_traps = 0;
  std::uint64_t contexts_cut = 0;
  std::uint64_t single_steps = 0;
  std::uint64_t regions_refused = 0;
  std::uint64_t dictionary_refused = 0;
  std::uint64_t buffered = 0;    // events in its ring when it was looked at last
  std::uint64_t unfinished = 0;  // events that the process was killed in the middle of
};

/// What one processor of the chain did with the events that came to it.
struct ProcessorCount {
  std::string name;
  std::uint64_t passed = 0;
  std::uint64_t dropped = 0;
  std::uint64_t failed = 0;  // left out because of an exception, a wrong answer, a death or a timeout
  std::uint64_t timeouts = 0;
  std::uint64_t restarts = 0;
  std::uint64_t output_bytes = 0;
  std::string last_error;
};

struct VariableCount {
  std::string name;
  std::uint64_t events = 0;
};

struct SinkCount {
  std::uint64_t delivered = 0;
  std::uint64_t rejected = 0;
  std::string fault;  // why it does not deliver at the moment
};

/// Sums of a run, or of a part of it.
struct RunTotals {
  std::uint64_t written = 0;
  std::uint64_t recovered = 0;  // events of earlier runs, found in the directory
  std::uint64_t dropped = 0;
  std::uint64_t coalesced = 0;
  std::uint64_t filtered = 0;     // events that their variable's condition, share or limit left out
  std::uint64_t redacted = 0;     // events of which a value was left out, by its name
  std::uint64_t symbol_hits = 0;  // native code addresses found in the cache, or not
  std::uint64_t symbol_misses = 0;
  std::uint64_t waiting = 0;               // events that wait in a spool for their processors
  std::vector<ProcessorCount> processors;  // in their order
  std::uint64_t started_ns = ~std::uint64_t{0};
  std::uint64_t ended_ns = 0;
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::map<std::string, VariableCount> variables;  // by variable_id, as in the events
  std::map<std::string, SinkCount> sinks;
  std::vector<ProcessSummary> processes;  // the first ones; all are counted
  std::uint64_t process_count = 0;

  std::uint64_t buffered() const;
};

class Summary {
 public:
  static constexpr std::size_t kMaxProcesses = 1000;

  explicit Summary(std::uint64_t run_id);

  /// Entry to count a variable's written events in; the address stays.
  VariableCount* variable(std::uint64_t id, std::string_view name);
  void add_process(const ProcessSummary& process) { process_news_.push_back(process); }
  RunTotals& news() { return news_; }

  /// Adds the news to the file; they are kept when that fails.
  Result<void> write(int directory_fd);

 private:
  void fill_variables();
  void forget_news();

  std::uint64_t run_id_;
  RunTotals news_;
  std::vector<ProcessSummary> process_news_;
  std::unordered_map<std::uint64_t, VariableCount> variables_;
};

}  // namespace watcher
