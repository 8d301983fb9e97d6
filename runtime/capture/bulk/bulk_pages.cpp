#include "runtime/capture/bulk/bulk_pages.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/engines/engine.h"
#include "runtime/capture/store/store.h"

namespace watcher {
namespace {

constexpr std::size_t kFirstChunk = 64 * 1024;
constexpr std::size_t kLargestChunk = 2048 * 1024;  // a huge page; two of them and their snapshots stay in the cache
constexpr std::size_t kSweepRoom = 2 * kLargestChunk;
constexpr int kMaxRegions = 256;  // on the pages of one window that get an event each

// --- room for snapshots

std::byte* map_room(std::size_t bytes) {
  const long address =
      raw_syscall(SYS_mmap, nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address < 0 && address > -4096) return nullptr;
  raw_syscall(SYS_madvise, address, bytes, MADV_HUGEPAGE);
  raw_syscall(SYS_madvise, address, bytes, MADV_DONTDUMP);
  return reinterpret_cast<std::byte*>(address);
}

bool grow_room(SnapshotRoom* room, std::size_t bytes) {
  if (room->capacity >= bytes) return true;
  if (room->capacity != 0) raw_syscall(SYS_munmap, room->base, room->capacity);
  room->base = map_room(bytes);
  room->capacity = room->base != nullptr ? bytes : 0;
  return room->base != nullptr;
}

/// Two chunks take turns in the first room: the one before the last has been told.
std::byte* sweep_room(BulkPages* pages) {
  SnapshotRoom& room = pages->rooms[0];
  if (!grow_room(&room, kSweepRoom)) return nullptr;
  room.used = kSweepRoom;
  const bool first_half_taken = pages->extent_count != 0 && pages->extents[pages->extent_count - 1].before == room.base;
  return first_half_taken ? room.base + kLargestChunk : room.base;
}

/// `whole`: what the variable may come to need, reserved at once.
std::byte* snapshot_room(BulkPages* pages, std::size_t bytes, std::size_t whole) {
  SnapshotRoom* empty = nullptr;
  for (SnapshotRoom& room : pages->rooms) {
    if (room.used != 0 && room.capacity - room.used >= bytes && &room != &pages->rooms[0]) {
      room.used += bytes;
      return room.base + room.used - bytes;
    }
    if (room.used == 0 && &room != &pages->rooms[0]) empty = &room;
  }
  if (empty == nullptr || !grow_room(empty, whole > bytes ? whole : bytes)) return nullptr;
  empty->used = bytes;
  return empty->base;
}

/// The kernel may take the pages when it is short of them; until then the next window has them for nothing.
void give_rooms(BulkPages* pages) {
  for (SnapshotRoom& room : pages->rooms) {
    if (room.used > kSweepRoom) raw_syscall(SYS_madvise, room.base, room.used, MADV_FREE);
    room.used = 0;
  }
}

// --- chunks

bool alike(const Page& a, const Page& b) {
  return a.engine == b.engine && a.alias == b.alias && a.protection == b.protection && a.first == b.first &&
         (a.more == nullptr) == (b.more == nullptr);
}

/// No store of others is on its way to a page once its flag was set under its lock, and no other window has it.
bool claim(std::uintptr_t address, const Page& like) {
  Page* page = find_page(address);
  if (page == nullptr || !alike(*page, like)) return false;
  SpinGuard guard(page->lock);
  if (!page->armed || page->open || page->told != nullptr) return false;
  page->open = true;
  return true;
}

void unclaim(const Extent& chunk) {
  for (std::uintptr_t address = chunk.begin; address < chunk.end; address += kPageBytes)
    find_page(address)->open = false;
}

/// Upwards from `address`, or downwards when the next page up is open already. Empty when its page cannot be had.
Extent claim_chunk(const BulkPages& pages, std::uintptr_t address, const Page& page, const Region& region) {
  const std::uintptr_t lowest = page_of(region.begin());
  const std::uintptr_t highest = page_of(region.end() + kPageMask);
  Extent chunk{page_of(address), page_of(address), nullptr};
  if (!claim(chunk.begin, page)) return chunk;
  chunk.end += kPageBytes;
  if (chunk.end < highest && bulk_pages_contain(pages, chunk.end)) {
    while (chunk.end - chunk.begin < pages.next_chunk && chunk.begin > lowest && claim(chunk.begin - kPageBytes, page))
      chunk.begin -= kPageBytes;
    return chunk;
  }
  std::uintptr_t limit = chunk.begin + pages.next_chunk;
  if (pages.next_chunk >= kLargestChunk) limit &= ~(kLargestChunk - 1);
  while (chunk.end < limit && chunk.end < highest && claim(chunk.end, page)) chunk.end += kPageBytes;
  return chunk;
}

void arm(const Extent& extent) {
  const Page& page = *find_page(extent.begin);
  page.engine->arm(extent.begin, extent.end - extent.begin, page.protection);
}

void add_extent(BulkPages* pages, const Extent& chunk) {
  Extent* last = pages->extent_count == 0 ? nullptr : &pages->extents[pages->extent_count - 1];
  const bool follows = last != nullptr && last->end == chunk.begin;
  if (!pages->sweeps && follows && last->before + (last->end - last->begin) == chunk.before)
    last->end = chunk.end;
  else
    pages->extents[pages->extent_count++] = chunk;
}

void note_hits(BulkPages* pages, const Page& page, std::uintptr_t address) {
  for_each_region(page, [&](const Region& region) {
    if (address < region.begin() || address >= region.end() || pages->hit_count == BulkPages::kMaxHits) return;
    for (int i = 0; i < pages->hit_count; ++i)
      if (pages->hits[i] == &region) return;
    pages->hits[pages->hit_count++] = &region;
  });
}

bool was_hit(const BulkPages& pages, const Region& region) {
  for (int i = 0; i < pages.hit_count; ++i)
    if (pages.hits[i] == &region) return true;
  return false;
}

/// Compares what of the variable lies in the extent.
void compare(const Extent& extent, const Region& region, BulkDifference* difference) {
  const std::uintptr_t begin = extent.begin > region.begin() ? extent.begin : region.begin();
  const std::uintptr_t end = extent.end < region.end() ? extent.end : region.end();
  if (begin < end) difference->add(region, begin, extent.before + (begin - extent.begin), end - begin, false);
}

// --- the sweep

const Region* swept_region(const BulkPages& pages) {
  return find_page(pages.extents[0].begin)->first;
}

bool continues_sweep(const BulkPages& pages, const Extent& chunk, const Page& page) {
  if (!pages.sweeps || page.more != nullptr) return false;
  if (pages.extent_count == 0) return true;
  return pages.extents[pages.extent_count - 1].end == chunk.begin && swept_region(pages) == page.first;
}

bool has_told(const BulkPages& pages) {
  return pages.told.begin != pages.told.end;
}

/// The pages stay flagged as open, so that others that trap on them have the window closed first: what they store is
/// published behind what we have found.
void tell_oldest(BulkPages* pages) {
  const Extent oldest = pages->extents[0];
  if (!has_told(*pages)) {
    pages->difference.keep_in(&pages->table);
    pages->told = oldest;
  }
  pages->told.end = oldest.end;
  arm(oldest);
  compare(oldest, *swept_region(*pages), &pages->difference);
  for (int i = 1; i < pages->extent_count; ++i) pages->extents[i - 1] = pages->extents[i];
  --pages->extent_count;
}

void end_sweep(BulkPages* pages, const BulkOrigin& origin) {
  pages->sweeps = false;
  if (!has_told(*pages)) return;
  pages->difference.publish(*swept_region(*pages), origin);
  unclaim(pages->told);
  pages->told = {};
  pages->hit_count = 0;
}

// --- closing

/// In order of address, which is nearly the order in which they were opened.
void sort_extents(BulkPages* pages) {
  for (int i = 1; i < pages->extent_count; ++i) {
    const Extent moved = pages->extents[i];
    int to = i;
    for (; to > 0 && pages->extents[to - 1].begin > moved.begin; --to) pages->extents[to] = pages->extents[to - 1];
    pages->extents[to] = moved;
  }
}

/// The variables on the pages, each once.
int collect_regions(const BulkPages& pages, const Region** regions) {
  int count = 0;
  for (int i = 0; i < pages.extent_count; ++i) {
    const Region* last = nullptr;
    for (std::uintptr_t address = pages.extents[i].begin; address < pages.extents[i].end; address += kPageBytes) {
      const Page& page = *find_page(address);
      if (page.first == last && page.more == nullptr) continue;
      last = page.first;
      for_each_region(page, [&](const Region& region) {
        for (int k = count; k-- > 0;)
          if (regions[k] == &region) return;
        if (count < kMaxRegions) regions[count++] = &region;
      });
    }
  }
  return count;
}

std::uint64_t tell(const BulkPages& pages, const Region& region, BulkDifference* difference, const BulkOrigin& origin) {
  for (int i = 0; i < pages.extent_count; ++i) compare(pages.extents[i], region, difference);
  const std::uint64_t changed = difference->changed_bytes();
  if (changed != 0 || was_hit(pages, region)) difference->publish(region, origin);
  return changed;
}

std::uint64_t tell_all(const BulkPages& pages, const BulkOrigin& origin) {
  static constinit const Region* regions[kMaxRegions] = {};  // one window closes at a time
  const int count = collect_regions(pages, regions);
  std::uint64_t changed = 0;
  for (int i = 0; i < count; ++i) {
    BulkDifference difference;
    changed += tell(pages, *regions[i], &difference, origin);
  }
  return changed;
}

}  // namespace

bool bulk_pages_open(BulkPages* pages, std::uintptr_t address, BulkOrigin* origin) {
  if (pages->extent_count == BulkPages::kMaxExtents) return false;
  if (pages->extent_count == 0) {
    pages->next_chunk = kFirstChunk;
    pages->sweeps = true;
  }
  const Page& page = *find_page(address);
  const Region& region = *page.first;  // the largest
  if (bulk_pages_told(*pages, address)) end_sweep(pages, *origin);
  Extent chunk = claim_chunk(*pages, address, page, region);
  const std::size_t bytes = chunk.end - chunk.begin;
  if (bytes == 0) return false;
  if (pages->sweeps && !continues_sweep(*pages, chunk, page)) end_sweep(pages, *origin);
  if (pages->sweeps && pages->extent_count == 2) tell_oldest(pages);
  const std::size_t whole = page_of(region.end() + kPageMask) - page_of(region.begin());
  chunk.before = pages->sweeps ? sweep_room(pages) : snapshot_room(pages, bytes, whole);
  if (chunk.before == nullptr) {
    unclaim(chunk);
    return false;
  }
  copy_bytes(chunk.before, reinterpret_cast<const std::byte*>(chunk.begin) + page.alias, bytes);
  if (page.engine->disarm(chunk.begin, bytes, page.protection) != 0) {
    arm(chunk);
    unclaim(chunk);
    return false;
  }
  add_extent(pages, chunk);
  note_hits(pages, page, address);
  ++origin->coalesced;
  if (pages->next_chunk < kLargestChunk || pages->extent_count > BulkPages::kMaxExtents / 2) pages->next_chunk *= 2;
  return true;
}

bool bulk_pages_told(const BulkPages& pages, std::uintptr_t address) {
  return pages.told.begin <= address && address < pages.told.end;
}

bool bulk_pages_contain(const BulkPages& pages, std::uintptr_t address) {
  return bulk_pages_meet(pages, address, address + 1);
}

bool bulk_pages_meet(const BulkPages& pages, std::uintptr_t begin, std::uintptr_t end) {
  const auto meets = [&](const Extent& extent) { return extent.begin < end && page_of(begin) < extent.end; };
  for (int i = pages.extent_count; i-- > 0;)
    if (meets(pages.extents[i])) return true;
  return has_told(pages) && meets(pages.told);
}

std::uint64_t bulk_pages_close(BulkPages* pages, const BulkOrigin& origin) {
  for (int i = 0; i < pages->extent_count; ++i) arm(pages->extents[i]);
  sort_extents(pages);
  const std::uint64_t changed =
      has_told(*pages) ? tell(*pages, *swept_region(*pages), &pages->difference, origin) : tell_all(*pages, origin);
  for (int i = 0; i < pages->extent_count; ++i) unclaim(pages->extents[i]);
  unclaim(pages->told);
  give_rooms(pages);
  pages->told = {};
  pages->extent_count = pages->hit_count = 0;
  return changed;
}

}  // namespace watcher
