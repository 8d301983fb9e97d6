#include "runtime/session/log.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

namespace watcher {
namespace {

constinit watcher_log_level threshold = WATCHER_WARNING;

}  // namespace

void set_log_level(watcher_log_level level) {
  threshold = level;
}

void vlog(watcher_log_level level, const char* format, va_list arguments) {
  if (level < threshold) return;
  const int saved_errno = errno;
  char line[1024] = "watcher: ";
  constexpr int kPrefix = 9;
  int length = kPrefix + vsnprintf(line + kPrefix, sizeof line - kPrefix - 1, format, arguments);
  if (length > static_cast<int>(sizeof line) - 2) length = static_cast<int>(sizeof line) - 2;
  line[length++] = '\n';
  [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, line, static_cast<size_t>(length));
  errno = saved_errno;
}

void log(watcher_log_level level, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vlog(level, format, arguments);
  va_end(arguments);
}

}  // namespace watcher
