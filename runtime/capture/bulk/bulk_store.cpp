// What a builtin of the language stores in bulk, put in place at once: its result was computed beside, so no store of
// it traps, and the difference is one event of each variable.
#include <errno.h>
#include <sys/mman.h>

#include "runtime/capture/bulk/bulk_event.h"
#include "runtime/capture/bulk/bulk_window.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/self_memory.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/store.h"

namespace watcher {
namespace {

struct Span {
  std::uintptr_t begin;
  std::uintptr_t end;
};

Span part_of_page(const Span& span, std::uintptr_t page) {
  return {span.begin > page ? span.begin : page, span.end < page + kPageBytes ? span.end : page + kPageBytes};
}

/// By the page's second mapping or past its protection: others' stores to it trap all the while. False: from some page
/// on nothing was stored.
bool put(const Span& span, const std::byte* from) {
  for (std::uintptr_t page = page_of(span.begin); page < span.end; page += kPageBytes) {
    const Span part = part_of_page(span, page);
    const std::byte* bytes = from + (part.begin - span.begin);
    const Page* entry = find_page(page);
    const bool armed = entry != nullptr && entry->armed;
    if (armed && entry->alias == 0) {
      if (!write_protected_memory(part.begin, bytes, part.end - part.begin)) return false;
    } else {
      const std::ptrdiff_t distance = armed ? entry->alias : 0;
      copy_bytes(reinterpret_cast<void*>(part.begin + static_cast<std::uintptr_t>(distance)), bytes,
                 part.end - part.begin);
    }
  }
  return true;
}

void tell(const Span& span, const Region& region, std::byte* before, const BulkOrigin& origin) {
  if (region.engine != nullptr) return;  // it tells by itself
  const std::uintptr_t begin = region.begin() > span.begin ? region.begin() : span.begin;
  const std::uintptr_t end = region.end() < span.end ? region.end() : span.end;
  BulkDifference difference;
  difference.add(region, begin, before + (begin - span.begin), end - begin, false);
  difference.publish(region, origin);
}

/// Each region once: on the first page that it shares with the span.
void tell_all(const Span& span, std::byte* before, const BulkOrigin& origin) {
  for (std::uintptr_t page = page_of(span.begin); page < span.end; page += kPageBytes) {
    const Page* entry = find_page(page);
    if (entry == nullptr || !entry->armed) continue;
    const Span part = part_of_page(span, page);
    for_each_region_in(*entry, part.begin, part.end, [&](const Region& region) {
      const std::uintptr_t begin = region.begin() > span.begin ? region.begin() : span.begin;
      if (begin >= part.begin && begin < part.end && region.end() > span.begin) tell(span, region, before, origin);
    });
  }
}

}  // namespace

int memory_store(void* to, const void* from, std::size_t bytes, std::uint64_t stores, DictionaryRef place,
                 DictionaryRef context) {
  if (memory_state.ring == nullptr) return ENOENT;
  const Span span{reinterpret_cast<std::uintptr_t>(to), reinterpret_cast<std::uintptr_t>(to) + bytes};
  void* before = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (before == MAP_FAILED) return ENOMEM;
  SpanBlob trace_span{};
  DictionaryRef known = 0;
  if (const PlaceOfWriter ask = memory_state.span.load(std::memory_order_acquire)) ask(&trace_span, &known);
  int error = 0;
  {
    StoresHeldOff held;
    bulk_windows_close(span.begin, span.end);
    auto* old = static_cast<std::byte*>(before);
    if (!guarded_copy(before, to, bytes)) {
      error = EFAULT;
    } else if (!put(span, static_cast<const std::byte*>(from))) {
      put(span, old);
      error = EFAULT;
    } else {
      tell_all(span, old,
               {.op = Op::kWrite,
                .ip = 0,
                .system_call = 0,
                .thread_id = current_thread_id(),
                .place = place,
                .context = context,
                .coalesced = stores,
                .exact = true,
                .span = trace_span});
    }
  }
  munmap(before, bytes);
  return error;
}

}  // namespace watcher
