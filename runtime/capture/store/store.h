// The stages of one store: resolve what it will write, claim its events, let it run on a copy, commit.
//
// Zone: fault handlers and, for the commit, the host's own context with all its registers live. The whole library is
// compiled without vector registers for that reason (meson.build).
#pragma once

#include <ucontext.h>

#include <cstdint>

#include "runtime/capture/store/store_context.h"

namespace watcher {

enum class FaultOutcome {
  kTaken,   // the context was changed: returning from the handler lets the store run
  kRetry,   // returning runs the instruction again
  kForeign  // not ours
};

/// A store to `address` trapped. `certain`: by the processor, not by way of a signal that may come late.
FaultOutcome store_faulted(ucontext_t* ucontext, std::uintptr_t address, bool certain);

/// Returning to the instruction is right when another thread has just ended the watch. It must not go on for ever, for
/// the host itself may have taken the right to write: kRetry a few times, then kForeign.
FaultOutcome retry_store(std::uintptr_t ip, std::uintptr_t address);

/// The instruction that runs out of line faulted itself: puts everything back as it was before.
void store_unwind(StoreContext* context, ucontext_t* ucontext);
/// Where the host would have faulted, for an address in the scratch pages.
std::uintptr_t host_address(const StoreContext& context, std::uintptr_t fault_address);

// single_step.cpp

/// Opens the page of `address` for one instruction.
FaultOutcome step_begin(StoreContext* context, ucontext_t* ucontext, std::uintptr_t address);
/// A second page of ours stands in the way of the instruction. False: it is not ours.
bool step_extend(StoreContext* context, std::uintptr_t address);
/// The instruction is done, or cannot be: closes the pages, publishes what changed.
void step_finish(StoreContext* context, ucontext_t* ucontext);

// captured_events.cpp

/// What of a region is the variable just now: {0, 0} when that cannot be told.
struct VisibleRange {
  std::uintptr_t begin;
  std::uintptr_t end;
};
VisibleRange visible_range(const Region& region);

/// Finds the variables that [begin, end) touches, and what to capture of each. The pages are locked. False when they
/// are too many for one event claim.
bool capture_ranges(StoreContext* context, std::uintptr_t begin, std::uintptr_t end);

inline constexpr std::uint32_t kUnknownThread = ~0u;  // a writer that is no thread of the host

struct EventOrigin {
  Op op;
  std::uint64_t ip;
  std::uint32_t system_call;    // number + 1
  void* ucontext;               // for the probe; null outside signal handlers
  std::uint32_t thread_id = 0;  // the writer's, when that is another thread: the probe cannot be asked then, and what
                                // the page saw while it was open is told as one event
  bool inexact = false;
};
/// Claims ring slots for all captured ranges at once, and fills them but for the bytes after.
void claim_events(StoreContext* context, const EventOrigin& origin);
/// Asks the probe; 0 when it knows nothing, or faults. The context belongs to the calling thread.
DictionaryRef place_of_writer(StoreContext* context, void* ucontext, DictionaryRef* of_context);
/// Gives claimed slots back as events that readers skip.
void void_events(StoreContext* context);

// store_commit.cpp

/// Completes the claimed events with the bytes at context->image.
void commit_events(StoreContext* context);
/// Makes the bytes at context->image the host's.
void commit_bytes(StoreContext* context);
/// Both, and the store is over: the context is given back.
void commit_store(StoreContext* context);

/// Bytes as they were told last: from the snapshot of an opened page, else from memory.
void copy_before(StoreContext* context, std::byte* to, std::uintptr_t from, std::size_t bytes);

inline void copy_bytes(void* to, const void* from, std::size_t bytes) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

/// Register by hardware number in a signal context.
greg_t& general_register(gregset_t& registers, unsigned hardware_number);

inline LockedPage* locked_page(StoreContext* context, std::uintptr_t address) {
  for (int i = 0; i < context->page_count; ++i)
    if (context->pages[i].address == page_of(address)) return &context->pages[i];
  return nullptr;
}

}  // namespace watcher
