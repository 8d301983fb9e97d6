// The table of functions that probes get: probe_abi.h over the session.
#pragma once

#include "probes/probe_abi.h"

namespace watcher {

const watcher_runtime* probe_table();

}  // namespace watcher
