// Changes as a trace in the JSON format of Chrome and Perfetto: a track a variable, on it a slice for each value that
// lasts until the next one, a counter where the value is a number, and a flow that leads from each change of a thread
// to its next one.
//
// The file is an array whose end may be missing, which the format allows; finish() writes it. See Sink for threads.
#pragma once

#include <rapidjson/stringbuffer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "runtime/base/result.h"
#include "runtime/base/unique_fd.h"
#include "runtime/output/journal/event_lines.h"
#include "runtime/output/sinks/sink.h"

namespace watcher {

class TraceSink final : public Sink {
 public:
  /// A file of that name that is no trace of ours is refused.
  static Result<std::unique_ptr<Sink>> open(const std::string& path);

  const char* name() const override { return "trace"; }
  bool resume(std::uint64_t state) override;
  std::size_t take(std::string_view lines) override;
  std::uint64_t state() const override { return size_; }
  void finish() override;
  /// The disk takes what it is given, or refuses at once.
  std::uint64_t patience_ms() const override { return 3'600'000; }

 private:
  explicit TraceSink(UniqueFd file) : file_(std::move(file)) {}

  bool begin();
  bool append(std::string_view text);
  bool read_start();
  void read_tracks();
  void note_entry(std::string_view line);
  void render(const rapidjson::Value& event);
  struct Track {
    std::uint64_t pid = 0;
    std::uint64_t number = 0;
    std::string slice;  // the open one's name; empty when an earlier follower began it
  };
  /// Ends the slice that is open on the track; names the track when it is new.
  Track& change_slice(std::uint64_t pid, std::uint64_t number, std::string_view name);
  void end_slice(const Track& track);
  /// Opens one object of the array with what all have; the caller closes it.
  template <class Writer>
  void open_entry(Writer& json, const char* phase, std::string_view name, std::uint64_t pid, std::uint64_t track);

  UniqueFd file_;
  std::uint64_t size_ = 0;      // of what is delivered; behind it may be the array's end
  std::uint64_t start_ns_ = 0;  // time 0 of the trace: an absolute time has more digits than a double
  std::uint64_t now_ns_ = 0;
  std::unordered_map<std::uint64_t, Track> tracks_;
  std::unordered_set<std::uint64_t> flows_;
  rapidjson::StringBuffer text_;
};

}  // namespace watcher
