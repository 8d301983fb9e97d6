// Which engine watches memory of our own, and why; written into the ring's header for the summary.
//
// Normal context, but for fall_back_to_inline.
#pragma once

namespace watcher {

/// "auto", "inline" or "uffd". Always ends with an engine.
void choose_engine(const char* wanted);
/// In a forked child the engine has to be started again, and the new ring has to be told.
void renew_engine_after_fork();
/// The handler process is gone: what it watched is watched inline from now on. In its guard, all signals blocked.
void fall_back_to_inline();

}  // namespace watcher
