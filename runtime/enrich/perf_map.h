// Names of just-in-time compiled code, as its compiler tells them to profilers: /tmp/perf-PID.map, a line for each
// function, growing while the program runs.
//
// One thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace watcher {

class PerfMap {
 public:
  explicit PerfMap(std::string path) : path_(std::move(path)) {}

  struct Function {
    std::uint64_t end;
    std::string name;
    std::uint32_t id = 0;  // the caller's
  };

  /// Null when no function contains the address. Reads on where the file has grown.
  Function* find(std::uint64_t address);

 private:
  Function* lookup(std::uint64_t address);
  void read_more();
  void add_line(std::string_view line);

  std::string path_;
  std::uint64_t read_bytes_ = 0;
  std::string partial_;  // a line that was not whole yet
  std::map<std::uint64_t, Function> functions_;
};

}  // namespace watcher
