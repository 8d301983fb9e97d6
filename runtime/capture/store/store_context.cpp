#include "runtime/capture/store/store_context.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/store/store.h"

namespace watcher {

__thread ThreadState thread_state;

namespace {

constexpr std::size_t kScratchBytes = 4 * kPageBytes;  // guard, two pages, guard

constinit StoreContext contexts[kStoreContexts];
constinit std::byte* scratch_area = nullptr;
constinit std::atomic<int> used_contexts{0};  // how many were ever in use at once: bounds the wait in stores_hold_off
constinit std::atomic<bool> held_off{false};
constinit SpinLock holder;

/// The pages are opened when a context is used for the first time: most programs need one or two.
bool open_scratch(StoreContext* context, int index) {
  if (context->scratch != nullptr) return true;
  std::byte* pages = scratch_area + static_cast<std::size_t>(index) * kScratchBytes + kPageBytes;
  if (raw_syscall(SYS_mprotect, pages, 2 * kPageBytes, PROT_READ | PROT_WRITE) != 0) return false;
  context->scratch = pages;
  return true;
}

StoreContext* try_acquire() {
  for (int i = 0; i < kStoreContexts; ++i) {
    StoreContext* context = &contexts[i];
    Holder nobody = Holder::kNobody;
    if (context->busy.load(std::memory_order_relaxed) != nobody) continue;
    // Sequentially consistent, like the store to `held_off`: either the holder sees us busy, or we see it hold.
    const Holder self = thread_state.is_helper ? Holder::kHelper : Holder::kHost;
    if (!context->busy.compare_exchange_strong(nobody, self, std::memory_order_seq_cst)) continue;
    int used = used_contexts.load(std::memory_order_relaxed);
    while (used <= i && !used_contexts.compare_exchange_weak(used, i + 1, std::memory_order_seq_cst)) {
    }
    if (open_scratch(context, i)) return context;
    context->busy.store(Holder::kNobody, std::memory_order_release);
  }
  return nullptr;
}

}  // namespace

std::uint32_t current_thread_id() {
  if (thread_state.thread_id == 0) thread_state.thread_id = static_cast<std::uint32_t>(raw_syscall(SYS_gettid));
  return thread_state.thread_id;
}

int context_index(const StoreContext& context) {
  return static_cast<int>(&context - contexts);
}

bool store_contexts_reserve() {
  if (scratch_area != nullptr) return true;
  void* area =
      mmap(nullptr, kStoreContexts * kScratchBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) return false;
  scratch_area = static_cast<std::byte*>(area);
  return true;
}

StoreContext* try_acquire_store_context() {
  if (held_off.load(std::memory_order_seq_cst) && !thread_state.holds_stores_off) return nullptr;
  StoreContext* context = try_acquire();
  if (context == nullptr) return nullptr;
  if (held_off.load(std::memory_order_seq_cst) && !thread_state.holds_stores_off) {
    context->busy.store(Holder::kNobody, std::memory_order_release);
    return nullptr;
  }
  context->phase = Phase::kPreparing;
  context->page_count = 0;
  context->range_count = 0;
  context->placed = false;
  context->enabled = ~std::uint64_t{0};
  thread_state.current = context;
  return context;
}

StoreContext* acquire_store_context() {
  for (;;) {
    StoreContext* context = try_acquire_store_context();
    if (context != nullptr) return context;
    yield_cpu();
  }
}

void lock_pages(StoreContext* context, std::uintptr_t begin, std::uintptr_t end) {
  for (std::uintptr_t address = page_of(begin); address < end && context->page_count < kMaxLockedPages;
       address += kPageBytes) {
    Page* page = find_page(address);
    if (page == nullptr || !page->armed) continue;
    page->lock.lock();
    context->pages[context->page_count++] = {page, address};
  }
}

bool try_lock_pages(StoreContext* context, std::uintptr_t begin, std::uintptr_t end) {
  for (std::uintptr_t address = page_of(begin); address < end && context->page_count < kMaxLockedPages;
       address += kPageBytes) {
    Page* page = find_page(address);
    if (page == nullptr || !page->armed) continue;
    if (!page->lock.try_lock(thread_state.is_helper ? Holder::kHelper : Holder::kHost)) {
      unlock_pages(context);
      return false;
    }
    context->pages[context->page_count++] = {page, address};
  }
  return true;
}

void release_contexts_of_helper() {
  for (StoreContext& context : contexts) {
    if (context.busy.load(std::memory_order_acquire) != Holder::kHelper) continue;
    void_events(&context);
    context.busy.store(Holder::kNobody, std::memory_order_release);
  }
}

void stores_hold_off() {
  holder.lock();
  thread_state.holds_stores_off = true;
  held_off.store(true, std::memory_order_seq_cst);
  const int used = used_contexts.load(std::memory_order_seq_cst);
  for (int i = 0; i < used; ++i) {
    if (&contexts[i] == thread_state.current) continue;
    while (contexts[i].busy.load(std::memory_order_seq_cst) != Holder::kNobody) yield_cpu();
  }
}

void stores_resume() {
  held_off.store(false, std::memory_order_seq_cst);
  thread_state.holds_stores_off = false;
  holder.unlock();
}

void stores_resume_in_child() {
  thread_state.thread_id = 0;
  for (StoreContext& context : contexts) context.busy.store(Holder::kNobody, std::memory_order_relaxed);
  stores_resume();
}

}  // namespace watcher
