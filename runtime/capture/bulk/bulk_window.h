// The stores of one bulk statement as one event: once a call from the interpreter's loop into C is seen to store in
// bulk, pages open under it in growing chunks, a snapshot of each is taken, and when the call returns the pages close
// and the differences are told, one event a variable.
//
// When it begins: at the first store of the call, where the instruction stores in bulk by itself (a repeated string
// store beyond its page, a vector store in a loop) or this line's calls have turned out to store in bulk; else at the
// store after the threshold, and those before it stay events of their own. BulkOrigin::coalesced counts the stores that
// trapped: the first one of each chunk. What ends a window beside the return: code of the language that runs in
// between, a fork, a change of the watched memory, another way to write to it, the end of the thread or the process.
//
// Zone: a window is opened and extended in fault handlers, under a StoreContext; it is closed with all stores held off.
#pragma once

#include <ucontext.h>

#include <cstdint>

#include "probes/probe_abi.h"
#include "runtime/capture/store/store_context.h"

namespace watcher {

/// `threshold`: stores of one call that are told one by one. Normal context, once. False when the processor guards
/// return addresses.
bool bulk_windows_start(const watcher_call_witness* witness, std::uint32_t threshold);

enum class BulkOutcome {
  kSingle,   // a store like any other
  kOpened,   // its page is open now: the instruction runs again, in place
  kOver,     // the call of the thread's window is over: bulk_window_abandon, then let it trap again
  kConflict  // it meets a window: bulk_windows_release its page, then let it trap again
};
/// A resolved store that trapped at `address`; no page is locked.
BulkOutcome bulk_store(StoreContext* context, ucontext_t* ucontext, std::uintptr_t address);
/// Is one of the pages it has locked open? What an event of it tells would be told by the window once more.
bool meets_bulk_window(const StoreContext& context);

/// Closes the calling thread's window, the end of whose call was missed. No StoreContext is held; any context.
void bulk_window_abandon();

/// Closes the windows that have a page of [begin, end). No StoreContext is held; any context.
void bulk_windows_release(std::uintptr_t begin, std::uintptr_t end);
/// The same with stores held off by the caller.
void bulk_windows_close(std::uintptr_t begin, std::uintptr_t end);

}  // namespace watcher
