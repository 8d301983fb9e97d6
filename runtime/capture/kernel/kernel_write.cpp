// System calls that write to watched memory. The kernel fills a buffer of ours instead; what arrived is then stored
// like the host's own stores, under the page locks, so that before and after always chain.
//
// The second mapping would save the copy, but the kernel would change bytes at a time nobody knows, under other
// threads' stores; and while a call blocks, no lock may be held.
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "preload/runtime_hooks.h"
#include "runtime/capture/bulk/bulk_window.h"
#include "runtime/capture/engines/hwbp_engine.h"
#include "runtime/capture/kernel/kernel_buffers.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/regions/alias_pages.h"
#include "runtime/capture/signals/fault_signals.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/store.h"

namespace watcher {
namespace {

constexpr std::size_t kChunkBytes = 15 * kPageBytes;  // with what widening adds, no more pages than a context can lock
constexpr std::size_t kSmallestChunk = kMaxEventsOfStore / 2;

/// Memory of ours always counts: while the process forks, all of it is protected.
bool must_redirect(std::uintptr_t begin, std::uintptr_t end) {
  if (alias_pages_contain(begin)) return true;
  if (surely_unwatched(begin, end)) return false;
  for (std::uintptr_t address = page_of(begin); address < end; address += kPageBytes) {
    const Page* page = find_page(address);
    // While capture is paused too: the call may still be waiting in the kernel when it is resumed.
    if (page != nullptr && page->placed()) return true;
  }
  return hwbp_watches(begin, end);
}

/// The kernel would have failed on bytes that are not there, and the host must not crash for them instead.
void copy_outside(StoreContext* context) {
  const std::uintptr_t end = context->address + context->bytes;
  for (std::uintptr_t address = context->address; address < end;) {
    const std::uintptr_t boundary = page_of(address) + kPageBytes;
    const std::size_t bytes = (end < boundary ? end : boundary) - address;
    if (locked_page(context, address) == nullptr)
      guarded_copy(reinterpret_cast<void*>(address), context->image + (address - context->address), bytes);
    address += bytes;
  }
}

/// Stores up to `bytes` and returns how many; none when a bulk window stood in the way, which is closed now.
std::size_t store_chunk(std::uintptr_t to, std::byte* from, std::size_t bytes, const EventOrigin& origin) {
  StoreContext* context = acquire_store_context();
  context->outside_reachable = false;
  context->address = to;
  context->image = from;
  for (;; bytes /= 2) {
    context->bytes = static_cast<std::uint32_t>(bytes);
    lock_pages(context, to - kMaxWidening, to + bytes + kMaxWidening);
    if (meets_bulk_window(*context)) {
      unlock_pages(context);
      release_store_context(context);
      bulk_windows_release(to - kMaxWidening, to + bytes + kMaxWidening);
      return 0;
    }
    if (capture_ranges(context, to, to + bytes) || bytes <= kSmallestChunk) break;
    unlock_pages(context);
  }
  copy_outside(context);
  claim_events(context, origin);
  commit_events(context);
  commit_bytes(context);
  hwbp_kernel_wrote(to, to + bytes, origin.system_call);
  unlock_pages(context);
  release_store_context(context);
  return bytes;
}

/// Stores `bytes` from a buffer of ours, as events where they are watched.
void store_copy(std::uintptr_t to, std::byte* from, std::size_t bytes, const EventOrigin& origin) {
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t left = bytes - done;
    done += store_chunk(to + done, from + done, left < kChunkBytes ? left : kChunkBytes, origin);
  }
}

/// How much of the range is there, from its first byte on. Not asked within one page.
std::size_t present_bytes(std::uintptr_t begin, std::size_t bytes) {
  constexpr std::size_t kPagesAtOnce = 512;
  unsigned char resident[kPagesAtOnce];
  const auto missing = [&](std::uintptr_t from, std::size_t length) {
    return raw_syscall(SYS_mincore, from, length, resident) == -ENOMEM;
  };
  const std::uintptr_t end = begin + bytes;
  if (page_of(begin) == page_of(end - 1)) return bytes;
  for (std::uintptr_t from = page_of(begin); from < end; from += kPagesAtOnce * kPageBytes) {
    const std::size_t left = end - from;
    if (!missing(from, left < sizeof resident * kPageBytes ? left : sizeof resident * kPageBytes)) continue;
    while (from < end && !missing(from, kPageBytes)) from += kPageBytes;
    return from <= begin ? 0 : from - begin < bytes ? from - begin : bytes;
  }
  return bytes;
}

/// And how much of that the host itself has left open to writes.
std::size_t permitted_bytes(std::uintptr_t begin, std::size_t bytes) {
  for (std::uintptr_t at = page_of(begin); (at = next_watched_page(at, begin + bytes)) < begin + bytes;
       at += kPageBytes) {
    const Page& page = *find_page(at);
    if (page.armed && !page.takes_stores()) return at <= begin ? 0 : at - begin;
  }
  return bytes;
}

void set_armed(const KernelBuffer& buffer, bool armed) {
  const auto begin = reinterpret_cast<std::uintptr_t>(buffer.host);
  for (std::uintptr_t address = page_of(begin); address < begin + buffer.bytes; address += kPageBytes) {
    Page* page = find_page(address);
    if (page == nullptr || !page->armed) continue;
    (armed ? page->engine->arm : page->engine->disarm)(address, kPageBytes, page->protection);
  }
}

}  // namespace

void* kernel_write_begin(void* host, std::size_t bytes, std::uint64_t* token) {
  const auto begin = reinterpret_cast<std::uintptr_t>(host);
  if (!fault_signals_installed() || begin + bytes < begin || !must_redirect(begin, begin + bytes)) return host;
  const std::size_t present = permitted_bytes(begin, present_bytes(begin, bytes));
  if (present == 0) return host;  // the kernel says so itself
  KernelBuffer* buffer = present == bytes ? take_kernel_buffer(bytes) : take_cut_buffer(present, begin % kPageBytes);
  if (buffer == nullptr) return host;
  const bool keeps = *token == WATCHER_KERNEL_WRITE_KEEPS;
  if (keeps && buffer->content != nullptr && !guarded_copy(buffer->content, host, present)) {
    give_kernel_buffer(buffer);
    return host;
  }
  buffer->host = host;
  buffer->bytes = bytes;
  *token = reinterpret_cast<std::uint64_t>(buffer);
  memory_state.ring->header()->kernel_redirects.fetch_add(1, std::memory_order_relaxed);
  if (buffer->content != nullptr) return buffer->content;
  set_armed(*buffer, false);  // out of memory: the call must succeed all the same
  return host;
}

void kernel_write_end(void* host, std::size_t written, std::uint64_t token, int call_number) {
  auto* buffer = reinterpret_cast<KernelBuffer*>(token);
  if (buffer == nullptr) return;
  SignalsHeldOff signals;
  const auto begin = reinterpret_cast<std::uintptr_t>(host);
  bulk_windows_release(begin, begin + written);
  if (buffer->content == nullptr) {
    set_armed(*buffer, true);
    memory_state.ring->header()->dropped.fetch_add(written != 0, std::memory_order_relaxed);
  } else {
    store_copy(begin, buffer->content, written,
               {Op::kKernelWrite, 0, static_cast<std::uint32_t>(call_number) + 1, nullptr});
  }
  give_kernel_buffer(buffer);
}

// No other store falls between its chunks: all others are held off.
int memory_write(RegionId id, const void* from, std::size_t bytes, std::uintptr_t ip) {
  if (memory_state.ring == nullptr) return ENOENT;
  StoresHeldOff held;
  const Region* region = find_region(id);
  if (region == nullptr) return ENOENT;
  if (bytes > region->variable.capacity) return EINVAL;
  bulk_windows_close(region->begin(), region->end());
  store_copy(region->begin(), static_cast<std::byte*>(const_cast<void*>(from)), bytes, {Op::kWrite, ip, 0, nullptr});
  return 0;
}

int memory_read(RegionId id, void* to, std::size_t bytes) {
  if (memory_state.ring == nullptr) return ENOENT;
  StoresHeldOff held;
  const Region* region = find_region(id);
  if (region == nullptr) return ENOENT;
  if (bytes > region->variable.capacity) return EINVAL;
  return guarded_copy(to, region->variable.base, bytes) ? 0 : EFAULT;
}

}  // namespace watcher
