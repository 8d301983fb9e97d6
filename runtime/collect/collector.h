// The reading end: finds the rings of a run in its output directory, drains them in order, and writes the sinks.
//
// Runs in a process of its own (watcher-exec for its children, watcher-collector for a program started with LD_PRELOAD
// alone), so that the host has no thread, no lock and no file of ours, and its death loses nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/options.h"
#include "runtime/base/result.h"

namespace watcher {

class Collector {
 public:
  /// Opens or creates the output directory (0700) and events.jsonl (0600, O_APPEND|O_NOFOLLOW).
  static Result<std::unique_ptr<Collector>> open(const Options& options, std::uint64_t run_id);
  virtual ~Collector() = default;

  /// The sinks besides events.jsonl that the options name, before the first step. One that cannot be had is left out,
  /// told in the summary, and returned as the error.
  virtual Result<void> add_sinks(const Options& options) = 0;

  /// Claims new rings, drains what is there. Returns the number of events written; 0 means nothing to do now.
  virtual std::uint64_t step() = 0;
  /// Rings claimed whose writer lives, or that are not drained yet.
  virtual bool busy() const = 0;
  /// A claimed ring's writer seems to be gone, but not all that shared its memory: soon it will be.
  virtual bool lingering() const = 0;
  /// Drains every ring in the directory whose writer is dead, whoever it belonged to.
  virtual void recover() = 0;
  /// Puts events.jsonl aside now, as rotate_size would.
  virtual void rotate() = 0;
  /// How the run ended, for summary.json: `exit_code` is the full one (402, …), `signal` 0 or the fatal signal.
  virtual void set_outcome(int exit_code, int signal) = 0;
  /// Starts the processors and waits until they can take events; without it their first event starts them.
  virtual Result<void> start_processors() = 0;
  /// Waits until what was drained is through the processors, as long as they get on; returns for how many events they
  /// have failed so far. finish() does it too.
  virtual std::uint64_t settle_processors() = 0;
  /// What the user should know of the processors after finish(), a sentence each.
  virtual std::vector<std::string> complaints() const = 0;
  /// Flushes, fsyncs, writes summary.json.
  virtual Result<void> finish() = 0;
};

}  // namespace watcher
