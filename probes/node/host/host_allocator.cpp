#include "probes/node/host/host_allocator.h"

#include <node/node_api.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <unordered_map>
#include <vector>

#include "probes/node/events/emit.h"
#include "probes/node/host/import_table.h"
#include "runtime/capture/spin_lock.h"

namespace watcher::node {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kMaxSites = 8;
// Small buffers share pages with each other; one that is watched costs its neighbours faults, but nobody bytes.
constexpr std::size_t kClassBytes[] = {64, 128, 256, 512, 1024, 2048};
constexpr std::size_t kClasses = std::size(kClassBytes);
constexpr std::size_t kChunkBytes = 16 * kPage;

constinit std::atomic<const void*> sites[kMaxSites] = {};
constinit std::atomic<std::size_t> site_count{0};
constinit std::atomic<RangeEnds> range_ends{nullptr};
// All memory of the runtime's lies in one range, of which we know this part.
constinit std::atomic<std::uintptr_t> lowest{~std::uintptr_t{0}};
constinit std::atomic<std::uintptr_t> highest{0};

__attribute__((tls_model("initial-exec"))) constinit thread_local std::size_t learning_bytes = 0;
__attribute__((tls_model("initial-exec"))) constinit thread_local bool own_pages = false;

constinit SpinLock slab_lock;
struct Slabs {
  std::vector<std::uintptr_t> free[kClasses];
  std::unordered_map<std::uintptr_t, std::uint8_t> class_of_page;
};
Slabs& slabs() {
  static auto* all = new Slabs;  // process-lifetime
  return *all;
}

bool is_site(const void* caller) {
  const std::size_t count = site_count.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < count; ++i)
    if (sites[i].load(std::memory_order_relaxed) == caller) return true;
  return false;
}

void note_site(const void* caller) {
  const SpinGuard guard(slab_lock);
  const std::size_t count = site_count.load(std::memory_order_relaxed);
  if (is_site(caller) || count == kMaxSites) return;
  sites[count].store(caller, std::memory_order_relaxed);
  site_count.store(count + 1, std::memory_order_release);
}

void* take_pages(std::size_t bytes) {
  void* pages = runtime->memory_allocate(bytes);
  if (pages == nullptr) return nullptr;
  const auto begin = reinterpret_cast<std::uintptr_t>(pages);
  const std::uintptr_t end = begin + bytes;
  for (std::uintptr_t low = lowest; begin < low && !lowest.compare_exchange_weak(low, begin);) continue;
  for (std::uintptr_t high = highest; end > high && !highest.compare_exchange_weak(high, end);) continue;
  return pages;
}

std::size_t class_for(std::size_t bytes) {
  std::size_t index = 0;
  while (index < kClasses && kClassBytes[index] < bytes) ++index;
  return index;
}

bool grow(std::size_t index) {
  const auto chunk = reinterpret_cast<std::uintptr_t>(take_pages(kChunkBytes));
  if (chunk == 0) return false;
  Slabs& all = slabs();
  for (std::uintptr_t page = chunk; page < chunk + kChunkBytes; page += kPage)
    all.class_of_page[page] = static_cast<std::uint8_t>(index);
  for (std::uintptr_t end = chunk + kChunkBytes; end > chunk; end -= kClassBytes[index])
    all.free[index].push_back(end - kClassBytes[index]);
  return true;
}

void* take_small(std::size_t index) {
  const SpinGuard guard(slab_lock);
  std::vector<std::uintptr_t>& free = slabs().free[index];
  if (free.empty() && !grow(index)) return nullptr;
  const std::uintptr_t block = free.back();
  free.pop_back();
  return reinterpret_cast<void*>(block);
}

void* allocate(std::size_t bytes, bool zeroed) {
  const std::size_t index = class_for(bytes);
  if (own_pages || index == kClasses) return take_pages(bytes != 0 ? bytes : 1);
  void* block = take_small(index);
  if (block != nullptr && zeroed) memset(block, 0, bytes);
  return block;
}

/// Size of the small block that begins here; 0 when it is none.
std::size_t small_bytes(std::uintptr_t address) {
  if (!in_our_pages(address)) return 0;
  const SpinGuard guard(slab_lock);
  const auto found = slabs().class_of_page.find(address & ~(kPage - 1));
  return found != slabs().class_of_page.end() ? kClassBytes[found->second] : 0;
}

std::size_t our_bytes(void* pointer) {
  const std::size_t small = small_bytes(reinterpret_cast<std::uintptr_t>(pointer));
  return small != 0 ? small : runtime->memory_allocated(pointer);
}

/// True when it was a small block of ours; pages go back by the runtime's own way, the shim's free.
bool give_back(void* pointer) {
  const auto begin = reinterpret_cast<std::uintptr_t>(pointer);
  const std::size_t bytes = our_bytes(pointer);
  const RangeEnds ends = range_ends.load(std::memory_order_acquire);
  if (bytes != 0 && ends != nullptr) ends(begin, begin + bytes);
  if (small_bytes(begin) == 0) return false;
  const SpinGuard guard(slab_lock);
  slabs().free[class_for(bytes)].push_back(begin);
  return true;
}

void* led_malloc(std::size_t bytes) {
  const void* caller = __builtin_return_address(0);
  if (__builtin_expect(learning_bytes != 0, 0) && bytes == learning_bytes) note_site(caller);
  if (is_site(caller))
    if (void* memory = allocate(bytes, false)) return memory;
  return ::malloc(bytes);
}

void* led_calloc(std::size_t count, std::size_t size) {
  const void* caller = __builtin_return_address(0);
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) return ::calloc(count, size);
  if (__builtin_expect(learning_bytes != 0, 0) && bytes == learning_bytes) note_site(caller);
  if (is_site(caller))
    if (void* memory = allocate(bytes, true)) return memory;
  return ::calloc(count, size);
}

void led_free(void* pointer) {
  if (pointer != nullptr && in_our_pages(reinterpret_cast<std::uintptr_t>(pointer)) && give_back(pointer)) return;
  ::free(pointer);
}

void* led_realloc(void* pointer, std::size_t bytes) {
  const bool ours = pointer != nullptr && in_our_pages(reinterpret_cast<std::uintptr_t>(pointer));
  const std::size_t had = ours ? our_bytes(pointer) : 0;
  if (had == 0) return ::realloc(pointer, bytes);
  void* moved = ::malloc(bytes);
  if (moved == nullptr) return nullptr;
  memcpy(moved, pointer, had < bytes ? had : bytes);
  led_free(pointer);
  return moved;
}

bool lead(const char* name, void* replacement) {
  return lead_import(reinterpret_cast<const void*>(napi_create_function), name, replacement);
}

}  // namespace

// Who frees first, then who allocates. The originals are called by their names: their addresses may be those of the
// very import slots that are led here.
bool lead_host_allocator() {
  static const bool led =
      lead("free", reinterpret_cast<void*>(led_free)) && lead("realloc", reinterpret_cast<void*>(led_realloc)) &&
      lead("malloc", reinterpret_cast<void*>(led_malloc)) && lead("calloc", reinterpret_cast<void*>(led_calloc));
  return led;
}

void begin_learning(std::size_t bytes) {
  learning_bytes = bytes;
}

std::size_t end_learning() {
  learning_bytes = 0;
  return site_count.load(std::memory_order_relaxed);
}

void want_own_pages(bool wanted) {
  own_pages = wanted;
}

bool in_our_pages(std::uintptr_t address) {
  return address >= lowest.load(std::memory_order_acquire) && address < highest.load(std::memory_order_acquire);
}

void when_range_ends(RangeEnds ends) {
  range_ends.store(ends, std::memory_order_release);
}

void renew_allocator_lock() {
  slab_lock.unlock();
}

}  // namespace watcher::node
