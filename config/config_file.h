// Reads a configuration file, and refuses one that somebody else could have written: a configuration names code to run.
// Any thread; ordinary zone.
#pragma once

#include <string>

#include "runtime/base/result.h"

namespace watcher {

/// The whole text. Refused: not a regular file, owned by neither the caller nor root, writable by group or others, or
/// below a directory in which anybody may replace it (world-writable, not sticky, not mounted read-only).
Result<std::string> read_config_file(const std::string& path);

/// The same for a file that is code itself, of any length.
Result<void> check_code_file(const std::string& path);

/// `path` as seen from the directory of `base_file`; absolute paths and files beside the working directory stay as they
/// are.
std::string relative_to_file(const std::string& base_file, const std::string& path);

}  // namespace watcher
