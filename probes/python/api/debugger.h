// on_change = "break": the debugger is entered at the line of a change, after its event.
//
// An event is often written where no code of the host's may run. So it only asks; the hook that caused it enters the
// debugger when it is done.
//
// Threads: the GIL is held.
#pragma once

#include <span>
#include <string_view>

#include "probes/python/events/emit.h"

namespace watcher::python {

/// Changes of the variable enter the debugger, those for which the condition holds if there is one.
void break_at(DictionaryRef variable, std::string_view when);

/// Called with each event while `attention` says kBreaks.
void ask_for_break(Op op, const Subject& subject, std::span<const PathStep> path, const Value& before,
                   const Value& after);

/// Was it asked for in this frame? Forgets what was asked in another one: that is over.
bool break_asked();
/// The event asked for it before its change was made: the next hook in this thread enters the debugger, or the main
/// thread itself when its interpreter next looks for something to do, as behind every call.
void break_later();
/// Was it? Forgets it.
bool later_break_asked();
/// Calls sys.breakpointhook(). False: it raised, and the exception is set.
bool enter_debugger();
/// The same where no exception can be raised: it is raised at the thread's next instruction that looks for one.
void enter_debugger_quietly();

}  // namespace watcher::python
