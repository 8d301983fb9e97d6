#include "runtime/capture/bulk/bulk_window.h"

#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "runtime/capture/bulk/bulk_pages.h"
#include "runtime/capture/bulk/bulk_sites.h"
#include "runtime/capture/bulk/return_stubs.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/native_stack.h"
#include "runtime/capture/store/store.h"
#include "runtime/capture/threads/thread_list.h"

namespace watcher {

struct BulkWindow {
  bool open;             // changed under a StoreContext by its thread, and with stores held off
  std::uint32_t serial;  // tells it from what the thread had opened here before
  std::uintptr_t slot;
  BulkSite first_site;  // of the call
  BulkSite site;
  bool guessed;               // opened at the first store of the call
  std::uint32_t store_bytes;  // of that store
  BulkOrigin origin;
  NativeCallers callers;
  BulkPages pages;
};

namespace {

constexpr int kWindows = 8;
constexpr std::size_t kSmallestRegion = kPageBytes;
constexpr pthread_key_t kKeysWithoutAllocation = 32;

constinit const watcher_call_witness* witness = nullptr;
constinit std::uint32_t singles_of_call = 0;
constinit pthread_key_t end_of_thread = 0;
constinit BulkWindow windows[kWindows] = {};
constinit std::atomic<int> open_windows{0};
constinit SpinLock opening;  // guards the taking of a window, and the witness's watch over entries

void language_entered();

BulkWindow* own_window() {
  BulkWindow* window = thread_state.window;
  return window != nullptr && window->open && window->serial == thread_state.window_serial ? window : nullptr;
}

// --- where the call returns to

struct ReturnSlot {
  std::uintptr_t address = 0;
  std::uintptr_t value = 0;
};

/// Shaped like PlaceOfWriter, to be called under the same guard against faults.
DictionaryRef ask_witness(void* ucontext, DictionaryRef* answer) {
  const gregset_t& registers = static_cast<ucontext_t*>(ucontext)->uc_mcontext.gregs;
  *reinterpret_cast<std::uintptr_t*>(answer) = witness->return_slot(static_cast<std::uintptr_t>(registers[REG_RIP]),
                                                                    static_cast<std::uintptr_t>(registers[REG_RSP]));
  return 0;
}

ReturnSlot return_slot(StoreContext* context, ucontext_t* ucontext) {
  ReturnSlot slot;
  const Phase phase = context->phase;
  context->phase = Phase::kPlacing;
  watcher_guarded_place(ask_witness, ucontext, reinterpret_cast<DictionaryRef*>(&slot.address), &context->place_resume);
  context->phase = phase;
  if (slot.address == 0 || slot.address % sizeof slot.value != 0) return {};
  if (!guarded_copy(&slot.value, reinterpret_cast<const void*>(slot.address), sizeof slot.value)) return {};
  const std::uintptr_t target = stub_target(slot.value);
  return witness->is_interpreter(target != 0 ? target : slot.value) != 0 ? slot : ReturnSlot{};
}

void set_return(const ReturnSlot& slot, std::uintptr_t value) {
  __atomic_store_n(reinterpret_cast<std::uintptr_t*>(slot.address), value, __ATOMIC_RELAXED);
}

// --- windows

BulkWindow* take_window() {
  SpinGuard guard(opening);
  for (BulkWindow& window : windows) {
    if (window.open) continue;
    if (open_windows.load(std::memory_order_relaxed) == 0 && witness->watch_entries(language_entered) == 0)
      return nullptr;
    open_windows.fetch_add(1, std::memory_order_relaxed);
    ++window.serial;  // before it can be taken for what its last owner had opened
    window.open = true;
    return &window;
  }
  return nullptr;
}

void give_window(BulkWindow* window) {
  SpinGuard guard(opening);
  window->open = false;
  if (open_windows.fetch_sub(1, std::memory_order_relaxed) == 1) witness->watch_entries(nullptr);
}

/// Stores held off.
void close_window(BulkWindow* window) {
  if (!only_thread()) window->origin.exact = false;
  const std::uint64_t changed = bulk_pages_close(&window->pages, window->origin);
  const bool few = window->guessed && window->origin.coalesced == 1 && changed != 0 && changed <= window->store_bytes;
  learn_bulk(window->site, !few);
  if (!few) learn_bulk(window->first_site, true);
  memory_state.ring->header()->bulk_windows.fetch_add(1, std::memory_order_relaxed);
  give_window(window);
}

/// Of the calling thread, whose call is over or interrupted.
void close_own(bool exact) {
  if (thread_state.window == nullptr) return;
  const int saved_errno = errno;
  {
    StoresHeldOff held;
    if (BulkWindow* window = own_window()) {
      window->origin.exact = window->origin.exact && exact;
      close_window(window);
    }
    thread_state.window = nullptr;
  }
  errno = saved_errno;
}

/// Stores in what is called now are that call's, and those after it count anew.
void language_entered() {
  close_own(true);
  thread_state.call_slot = 0;
}

bool open_window(StoreContext* context, ucontext_t* ucontext, const ReturnSlot& slot, std::uintptr_t address) {
  const std::uintptr_t heavy = heavy_stub(slot.value);
  BulkWindow* window = take_window();
  if (window == nullptr) return false;
  const auto ip = static_cast<std::uintptr_t>(context->registers[REG_RIP]);
  window->slot = slot.address;
  window->first_site = thread_state.first_site;
  window->guessed = thread_state.call_stores == 1 && context->remaining == 0;
  window->store_bytes = context->bytes;
  window->site = bulk_site(ip, context->place);
  window->origin = {.op = Op::kWrite,
                    .ip = ip,
                    .system_call = 0,
                    .thread_id = current_thread_id(),
                    .place = context->place,
                    .context = context->place_context,
                    .coalesced = 0,
                    .exact = only_thread(),
                    .span = context->span,
                    .callers = &window->callers};
  find_native_callers(context, ucontext);
  window->callers.count = context->callers.count;
  copy_bytes(window->callers.frames, context->callers.frames, context->callers.bytes());
  if (!bulk_pages_open(&window->pages, address, &window->origin)) {
    give_window(window);
    return false;
  }
  thread_state.window = window;
  thread_state.window_serial = window->serial;
  pthread_setspecific(end_of_thread, window);
  set_return(slot, heavy);
  return true;
}

/// Counts the stores of a call. The slot holds a stub as long as the call goes on: a new call writes it anew.
std::uint32_t count_store(ReturnSlot* slot) {
  ThreadState& thread = thread_state;
  const bool seen = stub_target(slot->value) != 0;
  if (!seen) {
    const std::uintptr_t stub = light_stub(slot->value);
    if (stub == 0) return 0;
    set_return(*slot, stub);
    slot->value = stub;
  }
  if (!seen || thread.call_slot != slot->address) thread.call_stores = 0;
  thread.call_slot = slot->address;
  return ++thread.call_stores;
}

}  // namespace

bool bulk_windows_start(const watcher_call_witness* call_witness, std::uint32_t threshold) {
  constexpr int kShadowStackStatus = 0x5005;
  unsigned long enabled = 0;
  if (raw_syscall(SYS_arch_prctl, kShadowStackStatus, &enabled) == 0 && (enabled & 1) != 0) return false;
  if (pthread_key_create(&end_of_thread, [](void*) { close_own(false); }) != 0) return false;
  if (end_of_thread >= kKeysWithoutAllocation) return false;
  singles_of_call = threshold;
  witness = call_witness;
  return true;
}

BulkOutcome bulk_store(StoreContext* context, ucontext_t* ucontext, std::uintptr_t address) {
  context->placed = false;
  const Page* page = witness == nullptr ? nullptr : find_page(address);
  if (page == nullptr || !page->armed || !page->watched()) return BulkOutcome::kSingle;
  BulkWindow* window = own_window();
  if (page->open) {
    // Opened since it trapped, or closed by a fork.
    if (window == nullptr || !bulk_pages_contain(window->pages, address)) return BulkOutcome::kConflict;
    if (!bulk_pages_told(window->pages, address)) {
      page->engine->disarm(page_of(address), kPageBytes, page->protection);
      return BulkOutcome::kOpened;
    }
  }
  if (page->first->variable.capacity < kSmallestRegion) return BulkOutcome::kSingle;
  ReturnSlot slot = return_slot(context, ucontext);
  if (slot.address == 0) return BulkOutcome::kSingle;
  if (window != nullptr) {
    if (window->slot != slot.address || !is_heavy_stub(slot.value)) return BulkOutcome::kOver;
    return bulk_pages_open(&window->pages, address, &window->origin) ? BulkOutcome::kOpened : BulkOutcome::kSingle;
  }
  const std::uint32_t stores = count_store(&slot);
  if (stores == 0) return BulkOutcome::kSingle;
  context->place = place_of_writer(context, ucontext, &context->place_context);
  context->placed = true;
  const BulkSite site = bulk_site(static_cast<std::uintptr_t>(context->registers[REG_RIP]), context->place);
  if (stores == 1) thread_state.first_site = site;
  const bool bulk = stores > singles_of_call || expects_bulk(site, context->form, context->remaining != 0);
  return bulk && open_window(context, ucontext, slot, address) ? BulkOutcome::kOpened : BulkOutcome::kSingle;
}

bool meets_bulk_window(const StoreContext& context) {
  if (open_windows.load(std::memory_order_relaxed) == 0) return false;
  for (int i = 0; i < context.page_count; ++i)
    if (context.pages[i].page->open) return true;
  return false;
}

void bulk_window_abandon() {
  close_own(false);
}

void bulk_windows_close(std::uintptr_t begin, std::uintptr_t end) {
  if (open_windows.load(std::memory_order_relaxed) == 0) return;
  const BulkWindow* own = own_window();
  for (BulkWindow& window : windows) {
    if (!window.open) continue;
    if (!bulk_pages_meet(window.pages, begin, end)) continue;
    if (&window != own) window.origin.exact = false;
    close_window(&window);
  }
}

void bulk_windows_release(std::uintptr_t begin, std::uintptr_t end) {
  if (open_windows.load(std::memory_order_relaxed) == 0) return;
  StoresHeldOff held;
  bulk_windows_close(begin, end);
}

extern "C" void watcher_call_returned(std::uintptr_t slot) {
  const BulkWindow* window = thread_state.window;
  close_own(window != nullptr && window->slot == slot);
}

}  // namespace watcher
