#include "runtime/capture/regions/region_map.h"

#include <sys/mman.h>

#include <new>

namespace watcher {
namespace {

// 47 bits of user address: 12 of page offset, 11 + 12 + 12 of page number.
constexpr std::uintptr_t kLeafPages = 1u << 11;
constexpr std::uintptr_t kBranches = 1u << 12;

struct Leaf {
  Page pages[kLeafPages];
};
struct Branch {
  std::atomic<Leaf*> leaves[kBranches];
};

// Acquire on the way down pairs with the release that put a node in: its zeroed content is seen.
constinit std::atomic<Branch*> root[kBranches] = {};

constinit std::atomic<std::uintptr_t> lowest{~std::uintptr_t{0}};
constinit std::atomic<std::uintptr_t> highest{0};

constexpr std::uint32_t kRegionsPerChunk = 4096;
constexpr std::uint32_t kMaxRegionChunks = 4096;
constinit Region* region_chunks[kMaxRegionChunks] = {};
constinit std::uint32_t region_chunk_count = 0;
constinit Region* free_regions = nullptr;
constinit std::atomic<std::uint32_t> regions_in_use{0};

// Indices have room for 2, 4, 8, … regions; one that is given back is used again for its size.
constexpr std::size_t kIndexChunkBytes = 256 * 1024;
constexpr std::uint32_t kIndexSizes = 28;
constinit RegionIndex* free_indices[kIndexSizes] = {};
constinit std::byte* index_chunk = nullptr;
constinit std::size_t index_chunk_left = 0;

std::uintptr_t branch_of(std::uintptr_t address) {
  return address >> 35;
}
std::uintptr_t leaf_of(std::uintptr_t address) {
  return address >> 23 & (kBranches - 1);
}
std::uintptr_t slot_of(std::uintptr_t address) {
  return address >> 12 & (kLeafPages - 1);
}

/// Zeroed memory that is never given back.
template <class T>
T* map_for_ever(std::size_t count = 1) {
  void* memory = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<T*>(memory);
}

bool grow_regions() {
  if (region_chunk_count == kMaxRegionChunks) return false;
  auto* chunk = map_for_ever<Region>(kRegionsPerChunk);
  if (chunk == nullptr) return false;
  const std::uint32_t first = region_chunk_count * kRegionsPerChunk;
  for (std::uint32_t i = kRegionsPerChunk; i-- > 0;) {
    new (&chunk[i]) Region;
    chunk[i].index = first + i;
    chunk[i].next_free = free_regions;
    free_regions = &chunk[i];
  }
  region_chunks[region_chunk_count++] = chunk;
  return true;
}

constexpr std::uint32_t index_room(std::uint32_t size_class) {
  return 2u << size_class;
}

std::byte* carve_index(std::size_t bytes) {
  if (bytes > kIndexChunkBytes) return map_for_ever<std::byte>(bytes);
  if (bytes > index_chunk_left) {
    auto* chunk = map_for_ever<std::byte>(kIndexChunkBytes);
    if (chunk == nullptr) return nullptr;
    index_chunk = chunk;
    index_chunk_left = kIndexChunkBytes;
  }
  std::byte* carved = index_chunk;
  index_chunk += bytes;
  index_chunk_left -= bytes;
  return carved;
}

RegionIndex* allocate_index(std::uint32_t size_class) {
  if (size_class >= kIndexSizes) return nullptr;
  RegionIndex* index = free_indices[size_class];
  if (index != nullptr)
    free_indices[size_class] = index->next_free;
  else
    index = reinterpret_cast<RegionIndex*>(
        carve_index(sizeof(RegionIndex) + index_room(size_class) * sizeof(RegionIndex::Entry)));
  if (index != nullptr) *index = {0, size_class, nullptr};
  return index;
}

void free_index(RegionIndex* index) {
  index->next_free = free_indices[index->size_class];
  free_indices[index->size_class] = index;
}

void renew_reach(RegionIndex* index, std::uint32_t from) {
  RegionIndex::Entry* entries = index->entries();
  for (std::uint32_t i = from; i < index->count; ++i) {
    const std::uintptr_t end = entries[i].region->end();
    entries[i].reach = i > 0 && entries[i - 1].reach > end ? entries[i - 1].reach : end;
  }
}

/// There is room for it.
void insert(RegionIndex* index, Region* region) {
  RegionIndex::Entry* entries = index->entries();
  const std::uint32_t at = index->count_before(region->begin() + 1);
  for (std::uint32_t i = index->count++; i > at; --i) entries[i] = entries[i - 1];
  entries[at] = {region, region->begin(), 0};
  renew_reach(index, at);
}

void erase(RegionIndex* index, std::uint32_t at) {
  RegionIndex::Entry* entries = index->entries();
  --index->count;
  for (std::uint32_t i = at; i < index->count; ++i) entries[i] = entries[i + 1];
  renew_reach(index, at);
}

/// Room for one region more than there are; false when memory is short.
bool make_room(Page& page) {
  RegionIndex* old = page.more;
  if (old != nullptr && old->count < index_room(old->size_class)) return true;
  RegionIndex* index = allocate_index(old == nullptr ? 0 : old->size_class + 1);
  if (index == nullptr) return false;
  page.more = index;
  if (old == nullptr) {
    insert(index, page.first);
    return true;
  }
  for (std::uint32_t i = 0; i < old->count; ++i) index->entries()[i] = old->entries()[i];
  index->count = old->count;
  free_index(old);
  return true;
}

bool is_larger(const Region& region, const Region& other) {
  return region.variable.capacity > other.variable.capacity;
}

}  // namespace

Page* find_page(std::uintptr_t address) {
  if (branch_of(address) >= kBranches) return nullptr;
  Branch* branch = root[branch_of(address)].load(std::memory_order_acquire);
  if (branch == nullptr) return nullptr;
  Leaf* leaf = branch->leaves[leaf_of(address)].load(std::memory_order_acquire);
  return leaf == nullptr ? nullptr : &leaf->pages[slot_of(address)];
}

std::uintptr_t next_watched_page(std::uintptr_t begin, std::uintptr_t end) {
  constexpr std::uintptr_t kLeafBytes = kLeafPages * kPageBytes;
  constexpr std::uintptr_t kBranchBytes = kBranches * kLeafBytes;
  for (std::uintptr_t at = begin; at < end && branch_of(at) < kBranches;) {
    Branch* branch = root[branch_of(at)].load(std::memory_order_acquire);
    Leaf* leaf = branch == nullptr ? nullptr : branch->leaves[leaf_of(at)].load(std::memory_order_acquire);
    if (leaf == nullptr) {
      const std::uintptr_t bytes = branch == nullptr ? kBranchBytes : kLeafBytes;
      at = (at & ~(bytes - 1)) + bytes;
      continue;
    }
    if (__atomic_load_n(&leaf->pages[slot_of(at)].first, __ATOMIC_RELAXED) != nullptr) return at;
    at += kPageBytes;
  }
  return end;
}

bool surely_unwatched(std::uintptr_t begin, std::uintptr_t end) {
  return begin >= highest.load(std::memory_order_relaxed) || end <= lowest.load(std::memory_order_relaxed);
}

Page* make_page(std::uintptr_t address) {
  if (branch_of(address) >= kBranches) return nullptr;
  std::atomic<Branch*>& branch = root[branch_of(address)];
  if (branch.load(std::memory_order_relaxed) == nullptr) {
    auto* made = map_for_ever<Branch>();
    if (made == nullptr) return nullptr;
    branch.store(made, std::memory_order_release);
  }
  std::atomic<Leaf*>& leaf = branch.load(std::memory_order_relaxed)->leaves[leaf_of(address)];
  if (leaf.load(std::memory_order_relaxed) == nullptr) {
    auto* made = map_for_ever<Leaf>();
    if (made == nullptr) return nullptr;
    leaf.store(made, std::memory_order_release);
  }
  return find_page(address);
}

Region* allocate_region(const MemoryVariable& variable) {
  if (free_regions == nullptr && !grow_regions()) return nullptr;
  Region* region = free_regions;
  free_regions = region->next_free;
  region->next_free = nullptr;
  region->variable = variable;
  regions_in_use.fetch_add(1, std::memory_order_relaxed);
  return region;
}

void free_region(Region* region) {
  ++region->generation;
  region->variable = {};
  region->paused_copy = nullptr;
  regions_in_use.fetch_sub(1, std::memory_order_relaxed);
  region->next_free = free_regions;
  free_regions = region;
}

Region* find_region(RegionId id) {
  const auto index = static_cast<std::uint32_t>(id) - 1;
  if (id == 0 || index / kRegionsPerChunk >= region_chunk_count) return nullptr;
  Region* region = &region_chunks[index / kRegionsPerChunk][index % kRegionsPerChunk];
  return region->id() == id && region->variable.base != nullptr ? region : nullptr;
}

bool add_to_page(Page& page, Region* region) {
  if (page.first == nullptr) {
    page.first = region;
    return true;
  }
  if (!make_room(page)) return false;
  insert(page.more, region);
  if (is_larger(*region, *page.first)) page.first = region;
  return true;
}

void remove_from_page(Page& page, Region* region) {
  RegionIndex* index = page.more;
  if (index == nullptr) {
    if (page.first == region) page.first = nullptr;
    return;
  }
  std::uint32_t at = 0;
  while (at < index->count && index->entries()[at].region != region) ++at;
  if (at == index->count) return;
  erase(index, at);
  page.first = index->entries()[0].region;
  for_each_region(page, [&](Region& other) {
    if (is_larger(other, *page.first)) page.first = &other;
  });
  if (index->count > 1) return;
  free_index(index);
  page.more = nullptr;
}

void include_in_bounds(std::uintptr_t begin, std::uintptr_t end) {
  if (begin < lowest.load(std::memory_order_relaxed)) lowest.store(begin, std::memory_order_relaxed);
  if (end > highest.load(std::memory_order_relaxed)) highest.store(end, std::memory_order_relaxed);
}

namespace {

/// `mark` null: every page.
void for_each_page(std::atomic<bool> Page::*mark, PageVisitor visit, void* argument) {
  for (std::uintptr_t i = 0; i < kBranches; ++i) {
    Branch* branch = root[i].load(std::memory_order_acquire);
    if (branch == nullptr) continue;
    for (std::uintptr_t j = 0; j < kBranches; ++j) {
      Leaf* leaf = branch->leaves[j].load(std::memory_order_acquire);
      if (leaf == nullptr) continue;
      for (std::uintptr_t k = 0; k < kLeafPages; ++k)
        if (mark == nullptr || leaf->pages[k].*mark) visit((i << 35) + (j << 23) + (k << 12), leaf->pages[k], argument);
    }
  }
}

}  // namespace

void for_each_armed_page(PageVisitor visit, void* argument) {
  for_each_page(&Page::armed, visit, argument);
}

void for_each_paused_page(PageVisitor visit, void* argument) {
  for_each_page(&Page::paused, visit, argument);
}

void take_pages_from_helper() {
  for_each_page(
      nullptr, [](std::uintptr_t, Page& page, void*) { page.lock.take_from_helper(); }, nullptr);
}

void for_every_region(RegionVisitor visit, void* argument) {
  for (std::uint32_t chunk = 0; chunk < region_chunk_count; ++chunk)
    for (std::uint32_t i = 0; i < kRegionsPerChunk; ++i)
      if (Region& region = region_chunks[chunk][i]; region.variable.base != nullptr) visit(region, argument);
}

std::uint32_t region_count() {
  return regions_in_use.load(std::memory_order_relaxed);
}

}  // namespace watcher
