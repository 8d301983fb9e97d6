// Reads the lines of events.jsonl and of the files it was put aside as, from a position on, in their order.
//
// Follows the file, not the name: what was put aside is read to its end first. One thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/base/unique_fd.h"

namespace watcher {

struct JournalPosition {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t born_ns = 0;  // tells the file from a later one in the same place; 0: the file system does not know
  std::uint64_t offset = 0;
  bool operator==(const JournalPosition&) const = default;
};

/// Behind everything written so far.
JournalPosition journal_end(int directory_fd);
/// The number of the file at this position among those put aside; the largest number there is when it is events.jsonl,
/// or gone.
std::uint64_t journal_file_number(int directory_fd, const JournalPosition& position);

class JournalReader {
 public:
  explicit JournalReader(int directory_fd) : directory_fd_(directory_fd) {}

  /// A file that is not there any more was taken away with all that was read: then from the start of events.jsonl.
  void seek(const JournalPosition& position);
  /// Some whole lines; empty when there are none now. Valid until the next call.
  std::string_view lines();
  void consume(std::size_t bytes);
  /// No file follows the one that is read.
  bool is_in_last_file() const;
  const JournalPosition& position() const { return position_; }

 private:
  bool open(const char* name, std::uint64_t offset);
  bool is_left_behind() const;
  bool open_next();
  std::string_view read_lines();

  int directory_fd_;
  UniqueFd file_;
  JournalPosition position_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // of what was read and not consumed
  std::size_t end_ = 0;
};

}  // namespace watcher
