// The files that events.jsonl is put aside as: events-000001.jsonl and so on, compressed with .gz or .zst behind. The
// number only grows, so a file has one name for good, and the names' order is that of the events.
//
// Any thread; callers hold the lock of the file in question.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace watcher {

inline constexpr const char* kEventsFile = "events.jsonl";

struct RotatedFile {
  std::uint64_t number = 0;
  bool compressed = false;
  std::string name;
};

/// By number.
std::vector<RotatedFile> rotated_files(int directory_fd);
/// The name's number and kind; nothing when it is another file.
std::optional<RotatedFile> parse_rotated_name(std::string_view name);

/// Gives events.jsonl the next number; `put_aside` by two collectors at once is kept apart by the lock on the file.
Result<void> put_aside(int directory_fd);

/// Is this open file the one under the name?
bool is_named(int directory_fd, const char* name, int file_fd);

/// Since its last change of name or content; a clock that was set back gives 0.
std::uint64_t milliseconds_unchanged(const struct stat& status);

}  // namespace watcher
