// What the program finds in its environment: LD_PRELOAD with the shim behind whatever is there, and WATCHER_*. All of
// it is set in this process and inherited. Single-threaded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/options.h"
#include "runtime/base/result.h"
#include "tools/watcher-exec-command-line.h"

namespace watcher {

/// Puts the settings into the environment and loads the options from there, as the program will. Paths become absolute
/// in both, since the program's descendants may work in other directories.
Result<Options> establish_options(const std::vector<Setting>& settings);

/// The path of a file of ours that is installed in the directory of the shim; `in_tree` is its folder in a build tree.
Result<std::string> find_part(const std::string& name, const std::string& in_tree);

/// The path of a program of ours that is installed beside this one.
Result<std::string> find_sibling(const std::string& name);

/// Appends the shim, found beside this program, to LD_PRELOAD.
Result<void> preload_shim();

/// Tells the program which run it belongs to, and that this process collects for it (or, with `collects` false, that
/// none does yet).
void announce_run(std::uint64_t run_id, bool collects);

}  // namespace watcher
