// The environment as a source of options: WATCHER_<KEY> for every row of the table, and a few names that watcher-exec
// and the runtime speak to each other with. An empty value counts as unset. Any thread that may read the environment;
// ordinary zone.
#pragma once

#include <string>
#include <string_view>

#include "config/options.h"

namespace watcher {

inline constexpr const char* kDefaultConfigFile = "./watcher.toml";

/// Set by users: nothing of Watcher happens in the process.
inline constexpr const char* kDisableVariable = "WATCHER_DISABLE";
/// Set by watcher-exec: 16 hex digits, the same in all processes of a run.
inline constexpr const char* kRunIdVariable = "WATCHER_RUN_ID";
/// Set by watcher-exec: the process that drains the rings of the run.
inline constexpr const char* kCollectorPidVariable = "WATCHER_COLLECTOR_PID";

/// "max_queue_size" → "WATCHER_MAX_QUEUE_SIZE".
std::string environment_name(std::string_view key);

/// load_from_environment with an environment given as `environ` is: null or a null-terminated array of "NAME=value".
Result<Options> load_from_environment(const char* const* environment, bool* asked);

}  // namespace watcher
