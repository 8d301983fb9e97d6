// One recorded process: options, ring, collector, probe. Inert until watching is asked for or watch() is called.
//
// Threads: attach runs alone (constructor). start and the tables handed to probes: any thread, not in signal handlers;
// probes call under their interpreter's lock. The fork handlers run in the forking thread.
#pragma once

#include <string>

#include "config/options.h"
#include "preload/runtime_hooks.h"
#include "probes/probe_abi.h"
#include "runtime/queue/event_ring.h"
#include "runtime/session/collector_process.h"

namespace watcher {

class Session {
 public:
  /// Reads the configuration and loads the host's probe; starts at once when watching was asked for.
  int attach(watcher_host host, const char* directory, watcher_runtime_hooks* hooks,
             const watcher_real_functions* real);

  /// For a program that watches its own memory: no probe, and the session starts. What the program suggests counts
  /// where nothing was configured; null, empty and 0 are no suggestions.
  Result<void> attach_program(const std::string& directory, watcher_runtime_hooks* hooks,
                              const watcher_real_functions* real, const char* output, std::size_t max_queue_size);

  /// Ring, collector, fork handlers. 0 or an errno; said once, remembered.
  int start();
  /// Engines and interposers for watched memory, at the first buffer. 0 or an errno.
  int start_memory();
  /// Interposers for memory that stays in its place, at the first such watch.
  void follow_lifetimes();
  /// Everything is written when this returns true; else the ring is left to a collector that comes later.
  bool close();
  /// The same for good: children forked from now on get no ring.
  bool stop();

  bool asked() const { return asked_; }
  EventRing& ring() { return ring_; }
  /// Zeros before start().
  void fill(watcher_stats* stats) const;
  const Options& options() const { return options_; }
  std::size_t rules(const char* path, const watcher_rule** rules) const;

  void before_fork();
  void after_fork_parent();
  void after_fork_child();
  /// Starts one and notes it in the ring. Async-signal-safe; false when it could not be started.
  bool start_collector();

 private:
  void adopt(const std::string& directory, watcher_runtime_hooks* hooks, const watcher_real_functions* real);
  Result<void> load_options();
  bool load_probe(watcher_host host);
  int open_ring();
  bool wait_until_closed();

  Options options_;
  std::string directory_;  // of the shim
  std::string output_;     // absolute
  std::string config_;     // absolute, or ""
  bool asked_ = false;
  bool forked_ = false;  // a child of a recorded process, without an exec
  bool stopped_ = false;
  int start_result_ = -1;  // -1: not tried
  int memory_result_ = -1;
  EventRing ring_;
  CollectorProcess collector_;
  watcher_runtime_hooks* hooks_ = nullptr;
  const watcher_real_functions* real_ = nullptr;
  const watcher_probe* probe_ = nullptr;
};

/// The process's session: made by attach, never destroyed.
Session* session();

}  // namespace watcher
