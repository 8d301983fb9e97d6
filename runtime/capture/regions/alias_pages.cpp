#include "runtime/capture/regions/alias_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <initializer_list>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/engines/engine.h"
#include "runtime/capture/handler/fault_witness.h"
#include "runtime/capture/regions/region_map.h"
#include "runtime/capture/signals/guarded.h"

namespace watcher {
namespace {

// Address space is all that a reservation costs; of what a host is limited to it takes a small part.
constexpr std::size_t kReservations[] = {std::size_t{64} << 30, std::size_t{8} << 30, std::size_t{1} << 30,
                                         std::size_t{128} << 20, std::size_t{16} << 20};
constexpr rlim_t kShareOfLimit = 32;
constexpr std::uint32_t kCommitPages = 1024;
constexpr std::size_t kSizeClasses = 32;
constexpr int kProbesInClass = 16;
constexpr std::uintptr_t kHugeBytes = std::uintptr_t{2} << 20;
constexpr std::size_t kMostHugeBytes = std::size_t{256} << 20;  // what is larger may be meant to stay sparse
constexpr int kCollapse = 25;                                   // MADV_COLLAPSE, which older headers lack
constexpr std::uint32_t kNone = 0;                              // page 0 is never handed out

// What leaves room on its pages begins a cache line inside them: whose a fault is takes longest to tell of the first
// word of a page (fault_witness.h), and of a small variable that would be each. Of a large one it hardly matters.
constexpr std::size_t kInset = 64;
constexpr std::size_t kMostInset = std::size_t{64} << 10;

enum Use : std::uint32_t { kFree, kFirst, kFirstInset, kLast };

/// A run of pages in one state. Written at its first and last page, so that neighbours find each other; whatever lies
/// between is kFree or stale, and never looked at, but for alias_allocated of an address that is no allocation's start.
struct Extent {
  std::uint32_t pages;
  Use use;
  std::uint32_t next;  // in the free list of its size class
  std::uint32_t previous;
};

bool is_first(const Extent& extent) {
  return extent.use == kFirst || extent.use == kFirstInset;
}
std::size_t inset_of(const Extent& extent) {
  return extent.use == kFirstInset ? kInset : 0;
}

struct Arena {
  std::byte* base;
  std::size_t bytes;  // of each half: the host's pages, then the second mapping
  bool aliased;
  Extent* extents;
  std::uint32_t end;        // first page never allocated
  std::uint32_t committed;  // first page that cannot be accessed yet
  std::uint32_t free[kSizeClasses];
  int child_file;         // the copy for the child, while forking
  std::byte* child_copy;  // the same without a descriptor
};
constinit Arena arena = {};

std::uint32_t page_count() {
  return static_cast<std::uint32_t>(arena.bytes / kPageBytes);
}
std::byte* page_address(std::uint32_t page) {
  return arena.base + std::size_t{page} * kPageBytes;
}
std::uint32_t page_index(std::uintptr_t address) {
  return static_cast<std::uint32_t>((address - reinterpret_cast<std::uintptr_t>(arena.base)) / kPageBytes);
}
std::size_t size_class(std::uint32_t pages) {
  return static_cast<std::size_t>(std::bit_width(pages | 1) - 1);
}

int create_file(std::size_t bytes) {
  rlimit limit{};
  // Beyond the limit ftruncate would not only fail but raise SIGXFSZ.
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < bytes) return -1;
  const long descriptor = raw_syscall(SYS_memfd_create, "watcher", MFD_CLOEXEC);
  if (descriptor < 0) return -1;
  if (raw_syscall(SYS_ftruncate, descriptor, bytes) == 0) return static_cast<int>(descriptor);
  raw_syscall(SYS_close, descriptor);
  return -1;
}

/// Both halves, at fixed addresses; the first `accessible` pages can be read and written. A core holds these, once: of
/// what is only reserved the kernel would allocate every page to write it there.
bool map_halves(int descriptor, std::byte* base, std::size_t bytes, std::size_t accessible) {
  for (std::byte* half : {base, base + bytes}) {
    if (mmap(half, bytes, PROT_NONE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, descriptor, 0) == MAP_FAILED) return false;
    if (accessible != 0 && mprotect(half, accessible * kPageBytes, PROT_READ | PROT_WRITE) != 0) return false;
  }
  madvise(base, 2 * bytes, MADV_DONTDUMP);
  if (accessible != 0) madvise(base, accessible * kPageBytes, MADV_DODUMP);
  return true;
}

/// `aliased`: with a second mapping. Without one the pages are private, and stores are committed as to memory that is
/// watched in its place.
bool reserve(std::size_t bytes, bool aliased) {
  const std::size_t table_bytes = bytes / kPageBytes * sizeof(Extent);
  void* table = mmap(nullptr, table_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (table == MAP_FAILED) return false;
  const std::size_t space_bytes = (aliased ? 2 * bytes : bytes) + kHugeBytes;
  void* space = mmap(nullptr, space_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  const int descriptor = space == MAP_FAILED || !aliased ? -1 : create_file(bytes);
  const std::uintptr_t base = (reinterpret_cast<std::uintptr_t>(space) + kHugeBytes - 1) & ~(kHugeBytes - 1);
  const bool mapped = descriptor >= 0 && map_halves(descriptor, reinterpret_cast<std::byte*>(base), bytes, 0);
  if (descriptor >= 0) raw_syscall(SYS_close, descriptor);
  if (space == MAP_FAILED || mapped != aliased) {
    munmap(table, table_bytes);
    if (space != MAP_FAILED) munmap(space, space_bytes);
    return false;
  }
  arena = {};
  arena.base = reinterpret_cast<std::byte*>(base);
  arena.aliased = aliased;
  arena.extents = static_cast<Extent*>(table);
  arena.end = arena.committed = 1;
  arena.child_file = -1;
  arena.bytes = bytes;
  witness_range(base, bytes);
  return true;
}

bool ensure_reserved() {
  if (arena.base != nullptr) return true;
  rlimit limit{};
  const bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  for (const bool aliased : {true, false})
    for (const std::size_t bytes : kReservations)
      if ((!limited || bytes <= limit.rlim_cur / kShareOfLimit) && reserve(bytes, aliased)) return true;
  return false;
}

void mark(std::uint32_t first, std::uint32_t pages, bool used) {
  arena.extents[first + pages - 1] = {pages, used ? kLast : kFree, kNone, kNone};
  arena.extents[first] = {pages, used ? kFirst : kFree, kNone, kNone};
}

void put_free(std::uint32_t first, std::uint32_t pages) {
  mark(first, pages, false);
  std::uint32_t& head = arena.free[size_class(pages)];
  arena.extents[first].next = head;
  if (head != kNone) arena.extents[head].previous = first;
  head = first;
}

void take_free(std::uint32_t first) {
  const Extent& extent = arena.extents[first];
  if (extent.next != kNone) arena.extents[extent.next].previous = extent.previous;
  if (extent.previous != kNone)
    arena.extents[extent.previous].next = extent.next;
  else
    arena.free[size_class(extent.pages)] = extent.next;
}

std::uint32_t find_free(std::uint32_t pages) {
  for (std::size_t size = size_class(pages); size < kSizeClasses; ++size) {
    std::uint32_t candidate = arena.free[size];
    for (int probe = 0; candidate != kNone && probe < kProbesInClass; ++probe) {
      if (arena.extents[candidate].pages >= pages) return candidate;
      candidate = arena.extents[candidate].next;
    }
  }
  return kNone;
}

bool commit_up_to(std::uint32_t end) {
  if (end <= arena.committed) return true;
  std::uint32_t target = (end + kCommitPages - 1) / kCommitPages * kCommitPages;
  if (target > page_count()) target = page_count();
  const std::size_t bytes = std::size_t{target - arena.committed} * kPageBytes;
  std::byte* first = page_address(arena.committed);
  if (mprotect(first, bytes, PROT_READ | PROT_WRITE) != 0) return false;
  if (arena.aliased && mprotect(first + arena.bytes, bytes, PROT_READ | PROT_WRITE) != 0) return false;
  madvise(first, bytes, MADV_DODUMP);
  arena.committed = target;
  return true;
}

std::uint32_t take_pages(std::uint32_t pages) {
  const std::uint32_t first = find_free(pages);
  if (first != kNone) {
    const std::uint32_t had = arena.extents[first].pages;
    take_free(first);
    if (had > pages) put_free(first + pages, had - pages);
    mark(first, pages, true);
    return first;
  }
  if (pages > page_count() - arena.end || !commit_up_to(arena.end + pages)) return kNone;
  const std::uint32_t fresh = arena.end;
  arena.end += pages;
  mark(fresh, pages, true);
  return fresh;
}

/// What was freed reads as zeros when it is handed out again, and costs no memory until then.
void forget_content(std::uint32_t first, std::uint32_t pages) {
  const std::size_t bytes = std::size_t{pages} * kPageBytes;
  if (arena.aliased && madvise(page_address(first) + arena.bytes, bytes, MADV_REMOVE) == 0) return;
  __builtin_memset(page_address(first), 0, bytes);
}

/// Bulk windows change the protection of the whole: with huge pages that costs a hundredth, and none of the faults that
/// the first stores would take. Without them all works as well.
void make_huge(std::byte* allocated, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(allocated);
  const std::uintptr_t begin = (address + kHugeBytes - 1) & ~(kHugeBytes - 1);
  const std::uintptr_t end = (address + bytes) & ~(kHugeBytes - 1);
  if (!arena.aliased || begin >= end || bytes > kMostHugeBytes) return;
  for (std::uintptr_t at = begin; at < end; at += kHugeBytes)  // a hole does not collapse
    if (!guarded_touch(reinterpret_cast<void*>(at))) return;
  for (const std::size_t half : {std::size_t{0}, arena.bytes})
    if (raw_syscall(SYS_madvise, begin + half, end - begin, kCollapse) != 0) return;
}

template <class Visit>
void for_each_used_extent(Visit visit) {
  for (std::uint32_t page = 1; page < arena.end; page += arena.extents[page].pages)
    if (is_first(arena.extents[page])) visit(page, std::size_t{arena.extents[page].pages} * kPageBytes);
}

bool copy_to_file(int descriptor) {
  bool whole = true;
  for_each_used_extent([&](std::uint32_t page, std::size_t bytes) {
    for (std::size_t done = 0; done < bytes && whole;) {
      const long got = raw_syscall(SYS_pwrite64, descriptor, page_address(page) + done, bytes - done,
                                   std::size_t{page} * kPageBytes + done);
      whole = got > 0;
      if (whole) done += static_cast<std::size_t>(got);
    }
  });
  return whole;
}

void copy_to_memory() {
  void* copy = mmap(nullptr, std::size_t{arena.end} * kPageBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (copy == MAP_FAILED) return;
  arena.child_copy = static_cast<std::byte*>(copy);
  for_each_used_extent([](std::uint32_t page, std::size_t bytes) {
    __builtin_memcpy(arena.child_copy + std::size_t{page} * kPageBytes, page_address(page), bytes);
  });
}

bool traps_by_mprotect(std::uint32_t page) {
  const Page* entry = find_page(reinterpret_cast<std::uintptr_t>(page_address(page)));
  return entry != nullptr && entry->armed && entry->engine == &inline_engine;
}

void drop_child_copy() {
  if (arena.child_file >= 0) raw_syscall(SYS_close, arena.child_file);
  if (arena.child_copy != nullptr) munmap(arena.child_copy, std::size_t{arena.end} * kPageBytes);
  arena.child_file = -1;
  arena.child_copy = nullptr;
}

}  // namespace

bool alias_pages_contain(std::uintptr_t address) {
  const auto base = reinterpret_cast<std::uintptr_t>(arena.base);
  return address - base < arena.bytes;  // no arena: 0 bytes
}

std::ptrdiff_t alias_distance() {
  return arena.aliased ? static_cast<std::ptrdiff_t>(arena.bytes) : 0;
}

void* alias_allocate(std::size_t bytes) {
  const std::size_t pages = (bytes + kPageBytes - 1) / kPageBytes;
  const bool fits = bytes != 0 && ensure_reserved() && pages < page_count();
  const std::uint32_t first = fits ? take_pages(static_cast<std::uint32_t>(pages)) : kNone;
  if (first != kNone) {
    make_huge(page_address(first), bytes);
    if (bytes + kInset <= pages * kPageBytes && bytes <= kMostInset) arena.extents[first].use = kFirstInset;
    return page_address(first) + inset_of(arena.extents[first]);
  }
  errno = ENOMEM;
  return nullptr;
}

std::size_t alias_allocated(std::uintptr_t address) {
  if (!alias_pages_contain(address)) return 0;
  const std::uint32_t page = page_index(address);
  if (page == 0 || page >= arena.end) return 0;
  const Extent& extent = arena.extents[page];
  const std::size_t inset = inset_of(extent);
  return is_first(extent) && (address & kPageMask) == inset ? std::size_t{extent.pages} * kPageBytes - inset : 0;
}

void alias_free(std::uintptr_t address) {
  std::uint32_t first = page_index(address);
  std::uint32_t pages = arena.extents[first].pages;
  forget_content(first, pages);
  mark(first, pages, false);
  const std::uint32_t after = first + pages;
  if (after < arena.end && arena.extents[after].use == kFree) {
    pages += arena.extents[after].pages;
    take_free(after);
  }
  if (first > 1 && arena.extents[first - 1].use == kFree) {
    const std::uint32_t before = arena.extents[first - 1].pages;
    first -= before;
    pages += before;
    take_free(first);
  }
  put_free(first, pages);
}

bool alias_page_reopen(std::uintptr_t address) {
  return raw_syscall(SYS_mprotect, page_of(address), kPageBytes, PROT_READ | PROT_WRITE) == 0;
}

void alias_pages_before_fork(bool protect) {
  if (arena.base == nullptr || arena.end == 1) return;
  if (protect) raw_syscall(SYS_mprotect, page_address(1), std::size_t{arena.end - 1} * kPageBytes, PROT_READ);
  const int low = arena.aliased ? create_file(arena.bytes) : -1;
  if (low >= 0) {
    const long high = raw_syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, 900);
    raw_syscall(SYS_close, low);
    arena.child_file = static_cast<int>(high < 0 ? -1 : high);
  }
  if (arena.child_file >= 0 && copy_to_file(arena.child_file)) return;
  drop_child_copy();
  if (arena.aliased) copy_to_memory();
}

/// What was protected for the time of the fork; the pages that trap stay so.
static void open_pages() {
  for (std::uint32_t page = 1; page < arena.end;) {
    std::uint32_t run = page;
    while (run < arena.end && !traps_by_mprotect(run)) ++run;
    if (run > page)
      raw_syscall(SYS_mprotect, page_address(page), std::size_t{run - page} * kPageBytes, PROT_READ | PROT_WRITE);
    page = run + 1;
  }
}

void alias_pages_after_fork_parent() {
  if (arena.base == nullptr) return;
  drop_child_copy();
  open_pages();
}

void alias_pages_after_fork_child() {
  if (arena.base == nullptr) return;
  if (!arena.aliased) return open_pages();
  if (arena.child_file >= 0) {
    map_halves(arena.child_file, arena.base, arena.bytes, arena.committed);
  } else if (arena.child_copy != nullptr) {
    // Without a descriptor there is no second mapping: private pages, and stores are committed like anywhere else.
    const std::size_t bytes = std::size_t{arena.end} * kPageBytes;
    mmap(arena.base, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    __builtin_memcpy(arena.base, arena.child_copy, bytes);
    arena.aliased = false;
  }
  drop_child_copy();
}

}  // namespace watcher
