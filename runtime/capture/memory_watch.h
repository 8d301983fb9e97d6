// Watched memory, as the rest of the runtime and the probes see it: the engines stand behind this header.
//
// Threads: watch, unwatch, allocate and the lifetime calls from any thread, not from a signal handler (one internal
// lock); the kernel-write calls from any thread and any context.
#pragma once

#include <signal.h>

#include <cstddef>
#include <cstdint>

#include "runtime/queue/event_ring.h"

namespace watcher {

/// What a probe knows about a buffer. The memory is borrowed: nothing keeps it alive; say memory_unwatch before it
/// goes.
struct MemoryVariable {
  void* base = nullptr;
  std::size_t capacity = 0;                 // bytes that may become part of the variable
  const std::int64_t* live_size = nullptr;  // where the owner keeps its current size in bytes; null: always `capacity`
  void* const* live_start = nullptr;        // where the owner keeps its current first byte; null: always `base`
  std::int64_t live_item_bytes = 1;         // *live_size counts items of this many bytes
  DictionaryRef variable = 0;
  std::uint32_t item_bytes = 1;  // captured ranges are widened to whole items
  Scope scope = Scope::kUnknown;
  std::uint32_t mutation_depth = 0;  // bytes of a change to tell; 0: as many as an event holds
};

using RegionId = std::uint64_t;  // 0: none

/// Called on the writing thread, in signal context, before the store of a watched byte is executed: who is it?
/// Returns a PlaceBlob reference; `context` receives a ContextBlob reference or 0. With a null `ucontext` it is called
/// in normal context: after a system call that wrote, and when a watch moves or ends; kNoEvent then says that the end
/// of the process took the memory along. A fault inside costs the place only.
inline constexpr DictionaryRef kNoEvent = ~DictionaryRef{0};
using PlaceOfWriter = DictionaryRef (*)(void* ucontext, DictionaryRef* context);

/// Prepares the engines. `engine` is "auto", "inline" or "uffd". Returns 0 or an errno; afterwards
/// RingHeader::engine and ::engine_reason say what was chosen and why. Starts the handler process of an engine that has
/// one.
int memory_start(EventRing* ring, const char* engine, PlaceOfWriter place);
/// Whom to ask for the callers of a store: called like PlaceOfWriter, see watcher_probe::stack.
void memory_record_stacks(PlaceOfWriter stack);
/// Likewise for the running span, at any time: see watcher_runtime::memory_spans.
void memory_record_spans(PlaceOfWriter span);

/// How many native callers of the storing function are told with each store; before memory is watched.
void memory_record_callers(std::uint32_t most);

/// Pages of their own, mapped twice, zeroed, at least `bytes` long and aligned to 64 bytes, to a page where it takes
/// whole ones; null with errno. Freed by memory_free.
void* memory_allocate(std::size_t bytes);
/// Bytes that belong to an allocation of ours starting at `pointer`, 0 when it is not ours.
std::size_t memory_allocated(const void* pointer);
/// Ends the watches inside and gives the pages back. 1 when `pointer` was ours.
int memory_free(void* pointer);

/// Starts to watch. 0 with errno: EINVAL (empty), EFAULT (not mapped, or not writable), EBUSY (in use while a store is
/// captured: a thread's stack or thread-local storage, the caller's signal stack), ENOMEM, ENOTSUP (no engine).
RegionId memory_watch(const MemoryVariable& variable);
/// How many there are. Any context.
std::uint32_t memory_regions();
/// Ends one watch; `op` (kFreed, kMoved or kCount for none) is recorded as its last event.
void memory_unwatch(RegionId region, Op op);

/// Returns when what has been stored so far is told, by an engine that looks from time to time. Before the last event.
void memory_flush();

/// Pausing copies what is watched and disarms it: stores cost nothing until memory_resume, which tells what changed
/// meanwhile as one event of each variable (Op::kResumed). 0 or an errno (ENOMEM: there is no room for the copy; then
/// nothing changed; EALREADY). A variable that was watched during the pause is armed by the resume. Before memory_start
/// there is nothing to copy, and it starts paused. memory_resume may end with EALREADY, or with the errno (ENOMEM) for
/// which some variables could not be armed again: these are watched no longer, though their change was still told.
/// Variables whose memory is gone by then end with Op::kFreed. System calls stay redirected during a pause, as one may
/// still be under way when it ends.
int memory_pause();
int memory_resume();

/// The bytes as they are between two stores. 0, ENOENT (no such region), EINVAL (longer than the region) or EFAULT.
int memory_read(RegionId region, void* to, std::size_t bytes);
/// Stores `bytes` at the region's start as if the code at `ip` did: Op::kWrite, one event for 60 KiB; no other store
/// falls in between. 0, ENOENT or EINVAL.
int memory_write(RegionId region, const void* from, std::size_t bytes, std::uintptr_t ip);

/// Stores what a builtin of the language would store in `stores` steps: one Op::kWrite event of each variable for what
/// differs, at `place`. In normal context. 0, ENOENT (nothing is watched), ENOMEM or EFAULT: then nothing is stored.
int memory_store(void* to, const void* from, std::size_t bytes, std::uint64_t stores, DictionaryRef place,
                 DictionaryRef context);

/// realloc of memory of ours: in place where the pages allow it, else new pages with the content and the watches moved.
void* memory_resize(void* pointer, std::size_t bytes);

/// The kernel is about to write here: see preload/runtime_hooks.h.
void* kernel_write_begin(void* buffer, std::size_t bytes, std::uint64_t* token);
void kernel_write_end(void* buffer, std::size_t written, std::uint64_t token, int call_number);

/// Fork: `before` holds all stores off but the calling thread's, `child` makes the memory private again and re-arms it
/// (after the ring has been renewed, which it tells its engine). Asynchronous signals are blocked in between.
void memory_before_fork();
void memory_after_fork_parent();
void memory_after_fork_child();

/// sigaction of a signal the engines live on; see preload/runtime_hooks.h.
int memory_set_action(int signal_number, const struct sigaction* action, struct sigaction* previous, int* result);
void memory_filter_mask(void* sigset);
/// sigaltstack, likewise; always deals with the call itself.
int memory_set_stack(const stack_t* stack, stack_t* previous, int* result);

}  // namespace watcher
