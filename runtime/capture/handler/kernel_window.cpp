#include "runtime/capture/handler/kernel_window.h"

#include <sys/mman.h>

#include "runtime/capture/bulk/bulk_window.h"
#include "runtime/capture/handler/userfault.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/store/store.h"
#include "runtime/capture/threads/thread_files.h"

namespace watcher {
namespace {

constexpr int kWindows = 1024;
constexpr std::uintptr_t kMaxRunPages = 15;  // with what widening adds, no more pages than a context can lock
constexpr std::int64_t kFirstLookNs = 1'000'000;
constexpr std::int64_t kNextLookNs = 20'000'000;
constexpr std::int64_t kExpectedNs = 100'000'000;  // a store of equal values is told that much later
constexpr std::int64_t kLateNs = 50'000'000;       // before looking why the thread does not close it itself
constexpr std::int64_t kLatestNs = 2'000'000'000;  // in any case
constexpr std::int64_t kNoRoomNs = 1'000'000'000;  // for the ring's reader to make room
constexpr int kLastAttempts = 100;
constexpr std::size_t kSmallestPiece = kMaxEventsOfStore / 2;

enum class WindowState : std::uint8_t {
  kFree,
  kOpen,
  kUntold  // protected again, for its thread sleeps in the system call; the difference is still to be told
};

/// Taken by the handler; given back, under the page's lock, by whoever tells the difference.
struct Window {
  std::atomic<WindowState> state;
  Opening opening;
  std::uintptr_t page;
  std::int64_t since_ns;
  std::int64_t look_ns;
};

constinit Window windows[kWindows] = {};
constinit std::byte* snapshots = nullptr;
constinit std::atomic<int> used_windows{0};  // how many were ever in use: bounds the search

bool equal_bytes(const std::byte* a, const std::byte* b) {
  std::size_t same = 0;
  while (same < kPageBytes && a[same] == b[same]) ++same;
  return same == kPageBytes;
}

std::byte* snapshot_of(const Window& window) {
  return snapshots + static_cast<std::size_t>(&window - windows) * kPageBytes;
}

/// Null when the page has no window of ours (a single step keeps its snapshot elsewhere).
Window* window_of(const Page& page) {
  const std::ptrdiff_t offset = page.told - snapshots;
  const bool ours =
      page.told != nullptr && offset >= 0 && offset < std::ptrdiff_t{kWindows} * std::ptrdiff_t{kPageBytes};
  return ours ? &windows[static_cast<std::size_t>(offset) / kPageBytes] : nullptr;
}

Window* take_window() {
  for (int i = 0; i < kWindows; ++i) {
    if (windows[i].state.load(std::memory_order_acquire) != WindowState::kFree) continue;
    if (used_windows.load(std::memory_order_relaxed) <= i) used_windows.store(i + 1, std::memory_order_release);
    return &windows[i];
  }
  return nullptr;
}

void give_back(Page* page, Window* window) {
  page->told = nullptr;
  // Release: partner of take_window.
  window->state.store(WindowState::kFree, std::memory_order_release);
}

bool belongs(std::uintptr_t address, std::uint32_t thread_id) {
  const Page* page = find_page(address);
  const Window* window = page != nullptr ? window_of(*page) : nullptr;
  return window != nullptr && window->opening.thread_id == thread_id;
}

/// The lowest page at or above `from` that is open for the thread; 0 when there is none.
std::uintptr_t next_page(std::uint32_t thread_id, std::uintptr_t from) {
  std::uintptr_t lowest = 0;
  const int used = used_windows.load(std::memory_order_acquire);
  for (int i = 0; i < used; ++i) {
    const Window& window = windows[i];
    if (window.state.load(std::memory_order_acquire) == WindowState::kFree) continue;
    if (window.opening.thread_id == thread_id && window.page >= from && (lowest == 0 || window.page < lowest))
      lowest = window.page;
  }
  return lowest;
}

/// Neighbouring pages that one thread wrote to, and what of them differs.
struct Run {
  std::uintptr_t begin;
  std::uintptr_t end;
  std::uintptr_t first = ~std::uintptr_t{0};  // changed, or known to be written
  std::uintptr_t last = 0;
};

void include(Run* run, std::uintptr_t first, std::uintptr_t last) {
  if (first < run->first) run->first = first;
  if (last > run->last) run->last = last;
}

/// A store of an equal value leaves no difference, but the address at which it began.
void find_difference(Run* run, std::uintptr_t address, const Window& window) {
  const std::byte* before = snapshot_of(window);
  const auto* now = reinterpret_cast<const std::byte*>(address);
  std::size_t first = 0;
  std::size_t last = kPageBytes;
  while (first < last && before[first] == now[first]) ++first;
  while (last > first && before[last - 1] == now[last - 1]) --last;
  if (last > first) include(run, address + first, address + last);
  include(run, window.opening.address, window.opening.address + 1);
}

bool has_room(std::size_t bytes) {
  const RingHeader& header = *memory_state.ring->header();
  const std::uint64_t slots = 2 * (2 * bytes / kSlotBytes + kMaxEventsOfStore);
  return header.head.load(std::memory_order_relaxed) + slots <=
         header.tail.load(std::memory_order_acquire) + header.slot_count;
}

void tell(StoreContext* context, const Run& run, const EventOrigin& origin) {
  for (std::uintptr_t at = run.first; at < run.last; at += context->bytes) {
    std::size_t bytes = run.last - at;
    while (!capture_ranges(context, at, at + bytes) && bytes > kSmallestPiece) bytes /= 2;
    context->address = at;
    context->bytes = static_cast<std::uint32_t>(bytes);
    context->image = reinterpret_cast<std::byte*>(at);
    claim_events(context, origin);
    commit_events(context);
  }
}

/// Protects, compares and tells. `ucontext` null: in the handler, for another thread. False: not just now.
bool close_locked(StoreContext* context, Run run, std::uint32_t thread_id, ucontext_t* ucontext, bool without_room) {
  while (run.begin < run.end && locked_page(context, run.begin) == nullptr) run.begin += kPageBytes;
  std::uintptr_t end = run.begin;
  while (end < run.end && locked_page(context, end) != nullptr && belongs(end, thread_id)) end += kPageBytes;
  if (end == run.begin) return true;  // someone else was faster
  if (ucontext == nullptr && !without_room && !has_room(end - run.begin)) return false;
  userfault_protect(run.begin, end - run.begin, true);
  memory_state.ring->header()->raw_kernel_writes.fetch_add(1, std::memory_order_relaxed);
  const Window first = {
      .state = {}, .opening = window_of(*find_page(run.begin))->opening, .page = 0, .since_ns = 0, .look_ns = 0};
  const std::uint32_t writer = thread_id != 0 ? thread_id : kUnknownThread;
  for (std::uintptr_t address = run.begin; address < end; address += kPageBytes)
    find_difference(&run, address, *window_of(*find_page(address)));
  if (without_room)
    memory_state.ring->header()->dropped.fetch_add(1, std::memory_order_relaxed);
  else
    tell(context, run, {first.opening.op, 0, first.opening.system_call, ucontext, ucontext == nullptr ? writer : 0});
  for (std::uintptr_t address = run.begin; address < end; address += kPageBytes) {
    Page* page = find_page(address);
    give_back(page, window_of(*page));
  }
  return true;
}

bool close_run(std::uintptr_t begin, std::uintptr_t end, std::uint32_t thread_id, ucontext_t* ucontext,
               bool without_room) {
  const bool waits = ucontext != nullptr;
  StoreContext* context = waits ? acquire_store_context() : try_acquire_store_context();
  if (context == nullptr) return false;
  bool done = true;
  if (waits)
    lock_pages(context, begin - kMaxWidening, end + kMaxWidening);
  else
    done = try_lock_pages(context, begin - kMaxWidening, end + kMaxWidening);
  done = done && close_locked(context, {begin, end}, thread_id, ucontext, without_room);
  unlock_pages(context);
  release_store_context(context);
  return done;
}

/// Everything that is open for the thread. False: some of it later.
bool close_thread(std::uint32_t thread_id, ucontext_t* ucontext, bool without_room) {
  bool all = true;
  for (std::uintptr_t begin = next_page(thread_id, 0); begin != 0;) {
    std::uintptr_t end = begin + kPageBytes;
    while (end - begin < kMaxRunPages * kPageBytes && belongs(end, thread_id)) end += kPageBytes;
    all = close_run(begin, end, thread_id, ucontext, without_room) && all;
    begin = next_page(thread_id, end);
  }
  return all;
}

/// The page is protected again while its thread sleeps: others' stores to it are then told as ever.
void protect_sleeper(Window* window) {
  Page* page = find_page(window->page);
  if (!page->lock.try_lock(Holder::kHelper)) return;
  if (window_of(*page) == window && window->state.load(std::memory_order_relaxed) == WindowState::kOpen) {
    userfault_protect(window->page, kPageBytes, true);
    window->state.store(WindowState::kUntold, std::memory_order_release);
  }
  page->lock.unlock();
}

/// A writer that is no thread of the host may not have got a processor yet: it comes again when the page is protected
/// meanwhile. False: it has stored.
bool still_expected(Window* window) {
  Page* page = find_page(window->page);
  if (!page->lock.try_lock(Holder::kHelper)) return true;
  const bool mine = window_of(*page) == window;
  const bool expected = mine && equal_bytes(snapshot_of(*window), reinterpret_cast<const std::byte*>(window->page));
  if (expected && window->state.load(std::memory_order_relaxed) == WindowState::kOpen) {
    userfault_protect(window->page, kPageBytes, true);
    window->state.store(WindowState::kUntold, std::memory_order_release);
  }
  page->lock.unlock();
  return expected;
}

/// On a busy machine a thread may long be about to close its window. Only one that blocks the signal never will.
bool will_close(const Opening& opening, std::int64_t age_ns) {
  if (!opening.told_by_thread || age_ns > kLatestNs) return false;
  bool exists = true;
  return age_ns < kLateNs || (!signal_waits(opening.thread_id, SIGTRAP, &exists) && exists);
}

void tend(Window* window, std::int64_t now_ns) {
  const Opening& opening = window->opening;
  const std::int64_t age_ns = now_ns - window->since_ns;
  std::uint32_t call = 0;
  const ThreadDoes does = opening.thread_id == 0 ? ThreadDoes::kNothing : what_thread_does(opening.thread_id, &call);
  const bool in_call = does == ThreadDoes::kCall && opening.op == Op::kKernelWrite &&
                       (opening.system_call == 0 || opening.system_call == call + 1);
  window->look_ns = now_ns + kNextLookNs;
  if (in_call) {
    if (window->state.load(std::memory_order_relaxed) == WindowState::kOpen) protect_sleeper(window);
    window->since_ns = now_ns;
  } else if (opening.thread_id == 0 && age_ns < kExpectedNs && still_expected(window)) {
    return;
  } else if (does == ThreadDoes::kNothing || !will_close(opening, age_ns)) {
    if (!close_thread(opening.thread_id, nullptr, age_ns > kLatestNs + kNoRoomNs))
      window->look_ns = now_ns + kFirstLookNs;
  }
}

/// What another thread wrote there is told first.
bool reopen(Window* window, const Opening& opening) {
  if (window->opening.thread_id != opening.thread_id) return false;
  if (opening.address < window->opening.address) window->opening.address = opening.address;
  window->opening.told_by_thread |= opening.told_by_thread;
  if (window->opening.system_call == 0) window->opening.system_call = opening.system_call;
  window->look_ns = monotonic_ns() + kFirstLookNs;
  window->state.store(WindowState::kOpen, std::memory_order_relaxed);
  userfault_protect(window->page, kPageBytes, false);
  return true;
}

}  // namespace

bool windows_reserve() {
  if (snapshots != nullptr) return true;
  void* memory =
      mmap(nullptr, kWindows * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return false;
  snapshots = static_cast<std::byte*>(memory);
  return true;
}

bool window_open(const Opening& opening) {
  const std::uintptr_t address = page_of(opening.address);
  Page* page = find_page(address);
  if (!page->lock.try_lock(Holder::kHelper)) return false;
  bool done = true;
  Window* window = window_of(*page);
  if (page->open &&
      !opening.insists) {  // a bulk window, being opened or closed: its difference would tell this as well
    page->lock.unlock();
    return false;
  }
  if (!page->armed || (page->told != nullptr && window == nullptr)) {
    userfault_protect(address, kPageBytes, false);
  } else if (window != nullptr) {
    done = reopen(window, opening);
  } else if ((window = take_window()) != nullptr) {
    window->opening = opening;
    window->page = address;
    window->since_ns = monotonic_ns();
    window->look_ns = window->since_ns + kFirstLookNs;
    copy_bytes(snapshot_of(*window), reinterpret_cast<const void*>(address), kPageBytes);
    // In this order, for a fork may copy any state in between, and the handler may be killed in it.
    window->state.store(WindowState::kOpen, std::memory_order_release);
    page->told = snapshot_of(*window);
    userfault_protect(address, kPageBytes, false);
  } else {
    done = false;
  }
  page->lock.unlock();
  if (done) return true;
  // One thread's windows make room for its next ones, or for another thread's on the same page.
  close_thread(window != nullptr ? window->opening.thread_id : opening.thread_id, nullptr, false);
  return false;
}

bool window_is_open(std::uintptr_t page, std::uint32_t thread_id) {
  const Window* window = window_of(*find_page(page));
  return window != nullptr && window->opening.thread_id == thread_id &&
         window->state.load(std::memory_order_acquire) == WindowState::kOpen;
}

void windows_tend(std::int64_t now_ns) {
  const int used = used_windows.load(std::memory_order_relaxed);
  for (int i = 0; i < used; ++i) {
    Window& window = windows[i];
    if (window.state.load(std::memory_order_acquire) != WindowState::kFree && now_ns >= window.look_ns)
      tend(&window, now_ns);
  }
}

int windows_patience_ms() {
  constexpr int kOpenMs = 1, kUntoldMs = 20, kIdleMs = 1000;
  int patience = kIdleMs;
  const int used = used_windows.load(std::memory_order_relaxed);
  for (int i = 0; i < used && patience > kOpenMs; ++i) {
    const WindowState state = windows[i].state.load(std::memory_order_relaxed);
    if (state == WindowState::kOpen) patience = kOpenMs;
    if (state == WindowState::kUntold) patience = kUntoldMs;
  }
  return patience;
}

void windows_close_all() {
  SignalsHeldOff signals;
  const int used = used_windows.load(std::memory_order_acquire);
  for (int attempt = 0; attempt < kLastAttempts; ++attempt) {
    bool all = true;
    for (int i = 0; i < used; ++i)
      if (windows[i].state.load(std::memory_order_acquire) != WindowState::kFree)
        all = close_thread(windows[i].opening.thread_id, nullptr, attempt == kLastAttempts - 1) && all;
    if (all) return;
    yield_cpu();
  }
}

void windows_close_own(ucontext_t* ucontext) {
  const std::uint32_t self = current_thread_id();
  for (std::uintptr_t page = next_page(self, 0); page != 0; page = next_page(self, page + kPageBytes))
    if (find_page(page)->open) bulk_windows_release(page, page + kPageBytes);  // it tells what was before
  close_thread(self, ucontext, false);
}

void window_forget(Page* page) {
  if (Window* window = window_of(*page); window != nullptr) give_back(page, window);
}

// One that was just being opened or closed may look free, and its page not.
void windows_forget_all() {
  for (Window& window : windows) {
    Page* page = find_page(window.page);
    if (page != nullptr && page->told == snapshot_of(window)) give_back(page, &window);
    window.state.store(WindowState::kFree, std::memory_order_relaxed);
  }
}

}  // namespace watcher
