// Events on their way through processors, kept in a file of the output directory until they are in events.jsonl: a
// processor may be slower than the program for as long as it likes, and a collector that is killed loses nothing.
//
// A file of chunks, each as it came from a ring. What is done is noted in the head. Written by one thread; read() by
// another.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/base/unique_fd.h"
#include "runtime/process/chain_event.h"

namespace watcher {

/// Lines of one ring, with what is known of each.
struct EventChunk {
  std::uint64_t run_id = 0;
  std::vector<LineInfo> infos;
  std::string text;
};

class Spool {
 public:
  struct Place {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::uint64_t lines = 0;
    std::uint64_t first = 0;  // lines before it are done
  };

  /// A new file, locked as long as this object lives.
  static Result<std::unique_ptr<Spool>> create(int directory_fd);
  /// One whose collector is dead; nothing when it lives, or the file is no spool.
  static std::unique_ptr<Spool> adopt(int directory_fd, const std::string& name);
  /// Names of the spools in a directory.
  static std::vector<std::string> names(int directory_fd);

  /// Nothing when the disk does not take it.
  std::optional<Place> append(const EventChunk& chunk);
  /// The chunks of an adopted file that are not done, as far as they are whole.
  std::vector<Place> unfinished();
  std::optional<EventChunk> read(const Place& place) const;

  /// The first `events` of the chunk are in the output.
  void note_done(const Place& place, std::uint64_t events, bool whole_chunk);
  /// Nothing is left: its room is given back.
  void clear();
  /// Removes the file.
  void remove();

 private:
  Spool(int directory_fd, std::string name, UniqueFd file);

  int directory_fd_;
  std::string name_;
  UniqueFd file_;
  std::uint64_t end_ = 0;
};

}  // namespace watcher
