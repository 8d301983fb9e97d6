// Which file a piece of code was loaded from, so that the reader of an event can name it when the process is gone.
//
// Any thread, any context: the loader's own table of what is loaded can be read without a lock (_dl_find_object).
#pragma once

#include <cstdint>

#include "runtime/queue/event.h"

namespace watcher {

/// Learns the program's own path, and the directory that relative ones start in. Not in a signal handler.
void code_modules_prepare();

/// ModuleBlob of the code at `ip`; 0 when it is in no file, as what a just-in-time compiler makes.
DictionaryRef module_of_code(std::uint64_t ip);

}  // namespace watcher
