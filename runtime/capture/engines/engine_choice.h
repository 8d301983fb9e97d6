// Which engine watches memory of our own, and why; written into the ring's header for the summary.
//
// Normal context, but for fall_back_to_inline.
#pragma once

namespace watcher {

struct Engine;

/// "auto", "inline", "uffd", "hwbp" or "sampled". Always ends with an engine.
void choose_engine(const char* wanted);
/// In a forked child the engine has to be started again, and the new ring has to be told.
void renew_engine_after_fork();
/// The handler process is gone: what it watched is watched inline from now on. In its guard, all signals blocked.
void fall_back_to_inline();

/// The engine that regions are offered first, before their pages are made to trap; null for none.
const Engine* region_engine();
/// It did not take one; counted, and told once.
void note_refused_region(int error);
/// Where a line about that goes. Called with stores held off: it must not wait or allocate.
void when_region_refused(void (*tell)(const char* line));

}  // namespace watcher
