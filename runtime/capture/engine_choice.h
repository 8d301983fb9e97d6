// Which engine watches memory of our own, and why; written into the ring's header for the summary.
//
// Normal context.
#pragma once

namespace watcher {

/// "auto", "inline" or "uffd". Always ends with an engine.
void choose_engine(const char* wanted);
/// In a forked child the engine has to be started again, and the new ring has to be told.
void renew_engine_after_fork();

}  // namespace watcher
