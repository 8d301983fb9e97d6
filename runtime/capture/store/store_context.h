// One store on its way from the fault to the commit: its registers, its copy of the written bytes, the locks it holds
// and the events it has claimed. Contexts come from a fixed pool, because stores happen in signal handlers.
//
// A context is also what keeps the region map still: stores_hold_off() waits until every context is free.
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/capture/regions/region_map.h"
#include "runtime/capture/signals/signal_mask.h"
#include "runtime/capture/store/instruction.h"

namespace watcher {

inline constexpr int kStoreContexts = 256;
inline constexpr int kMaxEventsOfStore = 64;
inline constexpr int kMaxLockedPages = 20;
inline constexpr int kMaxOpenedPages = 2;
inline constexpr std::uint32_t kMaxWidening = 256;  // an item longer than this is not captured whole

enum class Phase : std::uint8_t {
  kIdle,
  kPreparing,  // in the fault handler
  kPlacing,    // in the probe's PlaceOfWriter: a fault there costs the place, nothing else
  kExecuting,  // in the host's code again, out of line
  kStepping    // the host's own instruction runs with its pages open
};

struct LockedPage {
  Page* page;
  std::uintptr_t address;
};

/// Part of a captured range that belongs to one variable, and the ring slots for its event.
struct CapturedRange {
  const Region* region;
  std::uintptr_t begin;
  std::uintptr_t end;
  std::uint64_t offset;  // of `begin` in the variable
  EventHead* head;       // null: the ring dropped the event
  std::uint64_t ticket;
  std::uint32_t slots;
};

struct StoreContext {
  std::atomic<Holder> busy{Holder::kNobody};
  Phase phase = Phase::kIdle;
  bool outside_reachable = false;  // the bytes beside watched pages take part, see Scratch
  SignalMask host_mask = 0;
  std::uintptr_t place_resume = 0;

  StoreForm form;
  std::uintptr_t address = 0;  // of the store, in the host
  std::uint32_t bytes = 0;
  std::uint64_t enabled = ~std::uint64_t{0};  // the first 64 of them that are stored
  std::byte* image = nullptr;                 // where the store really goes: what `address` is in the scratch pages
  std::uint64_t saved_register = 0;
  std::uint64_t remaining = 0;  // iterations of a rep that are left for the next fault
  bool placed = false;          // the probe was asked already:
  DictionaryRef place = 0, place_context = 0;
  SpanBlob span = {};  // of the place that was asked for last

  gregset_t registers = {};  // as they were at the fault
  LockedPage pages[kMaxLockedPages] = {};
  int page_count = 0;
  CapturedRange ranges[kMaxEventsOfStore] = {};
  int range_count = 0;
  NativeCallers callers = {};

  std::uintptr_t opened[kMaxOpenedPages] = {};  // while stepping
  bool told_elsewhere[kMaxOpenedPages] = {};    // the page had a snapshot before; the others' are in `scratch`
  int opened_count = 0;

  std::byte* scratch = nullptr;  // two pages between two that cannot be touched
};

struct BulkWindow;

/// Per thread; initial-exec, so that a signal handler never meets a lazily allocated TLS block.
struct ThreadState {
  StoreContext* current = nullptr;
  std::uint32_t thread_id = 0;
  bool holds_stores_off = false;
  bool is_helper = false;  // a process of ours, not a thread of the host (helper_process.h)
  std::uint8_t retries = 0;
  std::uintptr_t retried_ip = 0;
  std::uintptr_t retried_address = 0;

  // bulk_window.cpp
  BulkWindow* window = nullptr;  // its latest one: others may have closed it, which the serial tells
  std::uint32_t window_serial = 0;
  std::uint32_t call_stores = 0;  // that trapped, in the call that returns through `call_slot`
  std::uintptr_t call_slot = 0;
  std::uint64_t first_site = 0;
};
extern __thread ThreadState thread_state __attribute__((tls_model("initial-exec")));

std::uint32_t current_thread_id();
/// Index of a context: it owns the code slot of the same number.
int context_index(const StoreContext& context);

/// Maps the scratch pages' reservation. False when memory is short.
bool store_contexts_reserve();

/// Waits while stores are held off. Never null: a context is only ever held for the time of one store.
StoreContext* acquire_store_context();
/// Null while stores are held off or no context is free.
StoreContext* try_acquire_store_context();
inline void release_store_context(StoreContext* context) {
  context->phase = Phase::kIdle;
  thread_state.current = nullptr;
  // Release: partner of the acquire in stores_hold_off and in the next owner's exchange.
  context->busy.store(Holder::kNobody, std::memory_order_release);
}
/// Contexts that a helper held when it was killed: their events are given up.
void release_contexts_of_helper();

/// Locks the known pages of [begin, end), in order of address. No more than kMaxLockedPages.
void lock_pages(StoreContext* context, std::uintptr_t begin, std::uintptr_t end);
/// The same for who waits for nobody, as a helper. False: none is locked.
bool try_lock_pages(StoreContext* context, std::uintptr_t begin, std::uintptr_t end);
inline void unlock_pages(StoreContext* context) {
  while (context->page_count > 0) context->pages[--context->page_count].page->lock.unlock();
}

/// Waits until no store is under way and lets none begin, but for the calling thread's own. Asynchronous signals must
/// be blocked by the caller. Not recursive.
void stores_hold_off();
void stores_resume();
/// In a forked child: the other threads' contexts and locks are nobody's.
void stores_resume_in_child();

/// Scope of a change to the region map.
class StoresHeldOff {
 public:
  StoresHeldOff() { stores_hold_off(); }
  ~StoresHeldOff() { stores_resume(); }
  StoresHeldOff(const StoresHeldOff&) = delete;
  StoresHeldOff& operator=(const StoresHeldOff&) = delete;

 private:
  SignalsHeldOff signals_;
};

}  // namespace watcher
