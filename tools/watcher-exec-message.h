// The one way in which watcher-exec speaks on its own account: a sentence on stderr.
#pragma once

#include <unistd.h>

#include <string>

namespace watcher {

/// One write, so that it never mixes with what the program says. Lost when nobody listens.
inline void complain(const std::string& sentence) {
  const std::string line = "watcher-exec: " + sentence + "\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace watcher
