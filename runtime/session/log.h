// One line to standard error. Warnings and errors always; the rest only when the user set log_level, because the host's
// standard error is the host's.
//
// Any thread; not in signal handlers.
#pragma once

#include <stdarg.h>

#include "probes/probe_abi.h"

namespace watcher {

void set_log_level(watcher_log_level level);
void log(watcher_log_level level, const char* format, ...) __attribute__((format(printf, 2, 3)));
void vlog(watcher_log_level level, const char* format, va_list arguments);

}  // namespace watcher
