// What the host does to memory under a watch, in its place: it frees, moves, empties and protects it.
#include <doctest/doctest.h>
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include <atomic>
#include <thread>

#include "preload/attached_runtime.h"
#include "runtime/capture/regions/memory_lifetime.h"
#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

struct Host {
  explicit Host(const char* engine = "inline") {
    when_watched_in_place([] {
      hooks.settle_watches = settle_watches;
      hooks.segment_bytes = segment_bytes;
      hooks.lift_watches = lift_watches;
      hooks.protect_memory = protect_watched;
      hooks.advise_memory = advise_watched;
    });
    EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
    hooks.owner = getpid();
    hooks.free_memory = memory_free;
    hooks.set_action = memory_set_action;
    hooks.realloc_memory = [](void* pointer, std::size_t bytes, void** result) {
      if (memory_allocated(pointer) == 0) return 0;
      *result = memory_resize(pointer, bytes);
      return 1;
    };
    hooks.kernel_write_end = kernel_write_end;
    hooks.kernel_write_begin = kernel_write_begin;
  }

  void expect(std::initializer_list<Op> ops) {
    const auto events = ring.drain();
    for (const MemoryEvent& event : events)
      if (events.size() != ops.size()) fprintf(stderr, "op %d at %llu\n", int(event.op), 0ull + event.offset);
    EXPECT(events.size() == ops.size());
    std::size_t i = 0;
    for (const Op op : ops) EXPECT(events[i++].op == op);
  }

  CaptureRing ring{1u << 16};
};

using Bytes = volatile unsigned char;

Bytes* map_pages(std::size_t pages) {
  return static_cast<Bytes*>(
      mmap(nullptr, pages * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}
void* plain(Bytes* bytes) {
  return const_cast<unsigned char*>(bytes);
}
RegionId watch(Bytes* bytes, std::size_t count) {
  const RegionId id = memory_watch(variable_of(plain(bytes), count));
  EXPECT(id != 0);
  return id;
}

void unmapping() {
  Host host;
  Bytes* pages = map_pages(4);
  watch(pages + kPageBytes, 100);
  watch(pages + kPageBytes + 200, 100);
  watch(pages + 3 * kPageBytes, 100);
  EXPECT(munmap(plain(pages), 0) == -1 && errno == EINVAL);
  EXPECT(munmap(plain(pages + 1), kPageBytes) == -1);
  pages[kPageBytes] = 1;
  host.expect({Op::kWrite});
  EXPECT(munmap(plain(pages), 2 * kPageBytes) == 0);
  host.expect({Op::kFreed, Op::kFreed});
  pages[3 * kPageBytes] = 2;
  host.expect({Op::kWrite});
  Bytes* again = static_cast<Bytes*>(
      mmap(plain(pages), 4 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  EXPECT(again == pages);
  host.expect({Op::kFreed});
  for (int i = 0; i < 4; ++i) again[static_cast<std::size_t>(i) * kPageBytes] = 1;
  host.expect({});
  // A mapping that fails takes nothing away.
  watch(pages, 8);
  EXPECT(mmap(plain(pages), kPageBytes, PROT_READ, MAP_PRIVATE | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EBADF);
  pages[0] = 3;
  host.expect({Op::kWrite});
}

/// Detached, and attached over another one: whatever comes to lie there then is nobody's variable.
void segments(const char* engine) {
  constexpr std::size_t kSegmentPages = 4;
  Host host(engine);
  int segment[2];
  for (int& id : segment) EXPECT((id = shmget(IPC_PRIVATE, kSegmentPages * kPageBytes - 100, 0600)) >= 0);
  const auto attach = [&](int which, Bytes* at, int flags) {
    return static_cast<Bytes*>(shmat(segment[which], plain(at), flags));
  };
  Bytes* pages = attach(0, nullptr, 0);
  watch(pages + kPageBytes, 100);
  watch(pages + 3 * kPageBytes, 100);
  EXPECT(shmdt(plain(pages + kPageBytes)) == -1 && errno == EINVAL);
  EXPECT(shmat(-1, plain(pages), SHM_REMAP) == reinterpret_cast<void*>(-1));
  pages[kPageBytes] = 1;
  pages[3 * kPageBytes] = 1;
  host.expect({Op::kWrite, Op::kWrite});
  EXPECT(attach(1, pages, SHM_REMAP) == pages);
  host.expect({Op::kFreed, Op::kFreed});
  watch(pages + 3 * kPageBytes, 100);
  EXPECT(shmdt(plain(pages)) == 0);
  host.expect({Op::kFreed});
  auto* again = static_cast<Bytes*>(mmap(plain(pages), kSegmentPages * kPageBytes, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  for (std::size_t i = 0; i < kSegmentPages; ++i) again[i * kPageBytes] = 1;
  host.expect({});
  for (const int id : segment) {
    shmid_ds left{};
    EXPECT(shmctl(id, IPC_STAT, &left) == 0 && left.shm_nattch == 0);
    shmctl(id, IPC_RMID, nullptr);
  }
}

void the_heaps_end() {
  Host host;
  EXPECT(mallopt(M_MMAP_THRESHOLD, 1) == 1);  // so that nobody else moves it
  auto* end = static_cast<Bytes*>(sbrk(0));
  EXPECT(sbrk(4 * kPageBytes) == plain(end));
  watch(end + 2 * kPageBytes, 50);
  watch(end + 3 * kPageBytes + 100, 50);
  end[2 * kPageBytes] = 1;
  end[3 * kPageBytes + 100] = 1;
  host.expect({Op::kWrite, Op::kWrite});
  EXPECT(sbrk(-static_cast<std::intptr_t>(kPageBytes)) == plain(end + 4 * kPageBytes));
  host.expect({Op::kFreed});
  // glibc takes both refusals for successes.
  brk(nullptr);
  sbrk(-(std::intptr_t{1} << 40));
  EXPECT(sbrk(0) == plain(end + 3 * kPageBytes));
  end[2 * kPageBytes] = 2;
  host.expect({Op::kWrite});
  EXPECT(brk(plain(end)) == 0);
  host.expect({Op::kFreed});
  EXPECT(sbrk(4 * kPageBytes) == plain(end));
  end[2 * kPageBytes] = 3;
  end[3 * kPageBytes + 100] = 3;
  host.expect({});
}

void remapping() {
  Host host;
  Bytes* pages = map_pages(4);
  const RegionId region = watch(pages + kPageBytes, kPageBytes);
  pages[kPageBytes + 5] = 5;
  Bytes* target = map_pages(8);
  watch(target + 6 * kPageBytes, 8);
  host.expect({Op::kWrite});
  // The middle page is protected: the kernel would take the mapping for three.
  auto* moved = static_cast<Bytes*>(
      mremap(plain(pages), 4 * kPageBytes, 8 * kPageBytes, MREMAP_MAYMOVE | MREMAP_FIXED, plain(target)));
  EXPECT(moved == target && moved[kPageBytes + 5] == 5);
  host.expect({Op::kMoved, Op::kFreed});
  moved[kPageBytes + 5] = 6;
  const auto events = host.ring.drain();
  EXPECT(events.size() == 1 && events[0].offset == 5 && events[0].before[0] == 5 && events[0].after[0] == 6);
  EXPECT(mremap(plain(moved), 8 * kPageBytes, 3 * kPageBytes, 0) == plain(moved));
  moved[kPageBytes] = 1;
  host.expect({Op::kWrite});
  EXPECT(mremap(plain(moved), kPageBytes, 1ul << 50, 0) == MAP_FAILED);
  moved[kPageBytes] = 2;
  host.expect({Op::kWrite});
  EXPECT(mremap(plain(moved), 3 * kPageBytes, kPageBytes, 0) == plain(moved));
  host.expect({Op::kFreed});
  memory_unwatch(region, Op::kFreed);
  host.expect({});
}

void allocator_blocks() {
  Host host;
  auto* block = static_cast<Bytes*>(malloc(100));
  auto* neighbour = static_cast<Bytes*>(malloc(100));
  watch(block + 8, 16);
  auto* grown = static_cast<Bytes*>(realloc(plain(block), 100000));
  EXPECT(grown != block);
  host.expect({Op::kMoved});
  grown[8] = 1;
  host.expect({Op::kWrite});
  auto* large = static_cast<Bytes*>(realloc(plain(grown), 10'000'000));
  large[8] = 2;
  large = static_cast<Bytes*>(realloc(plain(large), 30'000'000));
  large[9] = 2;
  neighbour[0] = 1;
  const auto events = host.ring.drain();
  std::size_t writes = 0;
  for (const MemoryEvent& event : events) writes += event.op == Op::kWrite;
  EXPECT(writes == 2 && events.back().op == Op::kWrite);
  free(plain(neighbour));
  host.expect({});
  auto* shrunk = static_cast<Bytes*>(realloc(plain(large), 12));
  EXPECT(host.ring.drain().size() == (shrunk == large ? 0 : 1));
  shrunk[11] = 7;
  EXPECT(host.ring.drain().at(0).offset == 3);
  free(plain(shrunk));
  host.expect({Op::kFreed});
  for (int i = 0; i < 1000; ++i) {
    auto* other = static_cast<Bytes*>(malloc(static_cast<std::size_t>(i) + 1));
    other[0] = 1;
    free(plain(other));
  }
  host.expect({});
}

/// Blocks come, are watched, move and go while other threads use the same heap pages.
void allocator_under_threads() {
  Host host;
  std::atomic<bool> stop{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i)
    others.emplace_back([&] {
      while (!stop) {
        auto* block = static_cast<Bytes*>(malloc(64));
        for (int k = 0; k < 20; ++k) block[k] = 1;
        auto* moved = static_cast<Bytes*>(realloc(plain(block), 300));
        EXPECT(moved[19] == 1);
        free(plain(moved));
      }
    });
  for (int round = 0; round < 300; ++round) {
    auto* block = static_cast<Bytes*>(malloc(64));
    watch(block, 64);
    block[0] = 1;
    block = static_cast<Bytes*>(realloc(plain(block), 400));
    block[1] = 2;
    EXPECT(block[0] == 1 && block[1] == 2);
    free(plain(block));
  }
  stop = true;
  for (std::thread& other : others) other.join();
  std::size_t freed = 0, writes = 0;
  for (const MemoryEvent& event : host.ring.drain()) {
    freed += event.op == Op::kFreed;
    writes += event.op == Op::kWrite;
  }
  EXPECT(freed == 300 && writes >= 600);
}

void emptying() {
  Host host;
  Bytes* pages = map_pages(3);
  watch(pages + 100, 2 * kPageBytes);
  pages[200] = 7;
  pages[kPageBytes + 1] = 8;
  EXPECT(host.ring.drain().size() == 2);
  EXPECT(madvise(plain(pages), kPageBytes, MADV_DONTNEED) == 0);
  auto events = host.ring.drain();
  EXPECT(events.size() == 1 && events[0].op == Op::kKernelWrite && pages[200] == 0);
  pages[200] = 9;
  events = host.ring.drain();
  EXPECT(events.size() == 1 && events[0].before[0] == 0 && events[0].after[0] == 9);
  EXPECT(madvise(plain(pages), 2 * kPageBytes, MADV_FREE) == 0);
  EXPECT(madvise(plain(pages), 2 * kPageBytes, MADV_PAGEOUT) == 0);
  EXPECT(pages[200] == 9 && pages[kPageBytes + 1] == 8);
  host.expect({});
  EXPECT(madvise(plain(pages + 1), kPageBytes, MADV_DONTNEED) == -1 && errno == EINVAL);
  EXPECT(madvise(plain(pages + 2 * kPageBytes), kPageBytes, MADV_DONTNEED) == 0);
  host.expect({});
  pages[201] = 9;
  host.expect({Op::kWrite});
}

sigjmp_buf escape;
volatile int faults;
void* volatile fault_address;

void protecting() {
  Host host;
  Bytes* pages = map_pages(4);
  munmap(plain(pages + 3 * kPageBytes), kPageBytes);
  watch(pages + kPageBytes, kPageBytes);
  struct sigaction action = {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = [](int, siginfo_t* info, void*) {
    faults = faults + 1;
    fault_address = info->si_addr;
    siglongjmp(escape, 1);
  };
  sigaction(SIGSEGV, &action, nullptr);
  Bytes* watched = pages + kPageBytes;
  EXPECT(mprotect(plain(pages), 3 * kPageBytes, PROT_READ) == 0);
  if (sigsetjmp(escape, 1) == 0) watched[5] = 1;
  EXPECT(faults == 1 && fault_address == watched + 5 && watched[5] == 0);
  // Half in it, half before it, and with the host's own permission for one half only.
  EXPECT(mprotect(plain(pages), kPageBytes, PROT_READ | PROT_WRITE) == 0);
  if (sigsetjmp(escape, 1) == 0) __asm__ volatile("movq $-1, (%0)" : : "r"(watched - 4) : "memory");
  EXPECT(faults == 2 && fault_address == watched && watched[-1] == 0 && watched[0] == 0);
  int ends[2];
  EXPECT(pipe(ends) == 0 && write(ends[1], "abcdefgh", 8) == 8);
  EXPECT(read(ends[0], plain(watched + 5), 4) == -1 && errno == EFAULT);
  EXPECT(read(ends[0], plain(watched - 2), 2) == 2);
  host.expect({});
  EXPECT(mprotect(plain(pages), 3 * kPageBytes, PROT_NONE) == 0);
  if (sigsetjmp(escape, 1) == 0) static_cast<void>(watched[7]);
  EXPECT(faults == 3 && fault_address == watched + 7);
  EXPECT(mprotect(plain(pages + 1), kPageBytes, PROT_READ) == -1 && errno == EINVAL);
  EXPECT(mprotect(plain(pages), 4 * kPageBytes, PROT_READ) == -1 && errno == ENOMEM);
  for (int i = 0; i < 200; ++i) {  // as a compiler of the host's would
    EXPECT(mprotect(plain(pages), 3 * kPageBytes, PROT_READ | PROT_WRITE) == 0);
    watched[0] = 0xc3;
    pages[0] = 1;
    EXPECT(mprotect(plain(pages), 3 * kPageBytes, PROT_READ | PROT_EXEC) == 0);
    reinterpret_cast<void (*)()>(plain(watched))();
  }
  EXPECT(host.ring.drain().size() == 200 && faults == 3);
  EXPECT(mprotect(plain(pages), 3 * kPageBytes, PROT_WRITE) == 0);
  watched[1] = 1;
  EXPECT(watched[1] == 1 && faults == 3);
  host.expect({Op::kWrite});
}

void watched_for_writing_only() {
  Host host;
  Bytes* pages = map_pages(1);
  EXPECT(syscall(SYS_mprotect, pages, kPageBytes, PROT_WRITE) == 0);
  watch(pages, 8);
  pages[0] = 1;
  EXPECT(pages[0] == 1);
  host.expect({Op::kWrite});
}

void unwatched_while_it_moves() {
  Host host;
  Bytes* pages = map_pages(1);
  const RegionId region = watch(pages, 8);
  const std::uint64_t token = lift_watches(plain(pages), kPageBytes);
  EXPECT(token != 0);
  memory_unwatch(region, Op::kCount);
  settle_watches(token, plain(pages), kPageBytes);
  pages[0] = 1;
  host.expect({});
  EXPECT(watch(pages, 8) != region);
  pages[0] = 2;
  host.expect({Op::kWrite});
}

}  // namespace

TEST_CASE("what is unmapped or mapped over is no longer watched") {
  CHECK(status_of_child(unmapping) == 0);
}
TEST_CASE("a segment that is detached, or another one attached over it, is no longer watched") {
  CHECK(status_of_child([] { segments("inline"); }) == 0);
  CHECK(status_of_child([] { segments("auto"); }) == 0);
}
TEST_CASE("the watch on what lay beyond the heap's new end is over") {
  CHECK(status_of_child(the_heaps_end) == 0);
}
TEST_CASE("a watch follows its mapping") {
  CHECK(status_of_child(remapping) == 0);
}
TEST_CASE("a watch follows its allocation, and ends with it") {
  CHECK(status_of_child(allocator_blocks) == 0);
  CHECK(status_of_child(allocator_under_threads) == 0);
}
TEST_CASE("advice that takes content away is an event") {
  CHECK(status_of_child(emptying) == 0);
}
TEST_CASE("the host's own protection holds") {
  CHECK(status_of_child(protecting) == 0);
  CHECK(status_of_child(watched_for_writing_only) == 0);
}
TEST_CASE("a watch may end while its memory moves") {
  CHECK(status_of_child(unwatched_while_it_moves) == 0);
}

}  // namespace watcher::test
