// What `watcher doctor` finds out by trying it, in children and a scratch directory: engines and interpreters.
// Single-threaded.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace watcher {

/// A directory of our own below TMPDIR, removed with all that is in it.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  /// Empty when there is no room for one.
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct EngineTrial {
  std::string used;  // the engine that took a variable of eight bytes; empty when nothing could be watched
  std::string reason;
  bool recorded = false;  // its store came out as an event
};

/// Watches a variable by the runtime in a child.
EngineTrial try_engine(const std::string& runtime, const std::string& engine, const std::string& scratch);

struct InterpreterTrial {
  std::string version;  // as it calls itself; empty when it cannot be run
  bool recorded = false;
};

/// Runs a script with one watched variable under watcher-exec.
InterpreterTrial try_interpreter(const std::string& watcher_exec, const std::string& program, bool is_node,
                                 const std::string& scratch);

/// The programs of these names on PATH, each file once.
std::vector<std::string> find_programs(const std::vector<std::string>& names);

}  // namespace watcher
