// Which memory can be watched, what of it is captured, and what becomes of it in forks, frees and moves.
#include <doctest/doctest.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

volatile unsigned char* bytes_of(void* memory) {
  return static_cast<volatile unsigned char*>(memory);
}

void start(CaptureRing& ring, const char* engine = "inline") {
  EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
}

void items_are_whole() {
  CaptureRing ring;
  start(ring);
  void* memory = memory_allocate(100);
  EXPECT(memory_allocated(memory) >= 100);
  EXPECT(memory_watch(variable_of(static_cast<char*>(memory) + 8, 83, 8)) != 0);
  bytes_of(memory)[8 + 17] = 5;
  bytes_of(memory)[8 + 82] = 6;  // the last item is cut short
  bytes_of(memory)[4] = 7;       // a neighbour
  bytes_of(memory)[95] = 8;      // another
  const auto events = ring.drain();
  EXPECT(events.size() == 2);
  EXPECT(events[0].offset == 16 && events[0].before.size() == 8 && events[0].after[1] == 5);
  EXPECT(events[1].offset == 80 && events[1].before.size() == 3 && events[1].after[2] == 6);
  EXPECT(ring.header().neighbour_traps == 2);
}

void live_cells_are_read_at_the_fault() {
  CaptureRing ring;
  start(ring);
  void* memory = memory_allocate(100);
  std::int64_t size = 4;
  void* first = memory;
  MemoryVariable variable = variable_of(memory, 100);
  variable.live_size = &size;
  variable.live_start = &first;
  EXPECT(memory_watch(variable) != 0);
  bytes_of(memory)[3] = 1;
  bytes_of(memory)[4] = 2;  // not yet part of it
  size = 8;
  bytes_of(memory)[4] = 3;
  first = static_cast<char*>(memory) + 2;
  bytes_of(memory)[4] = 4;
  bytes_of(memory)[1] = 5;  // no longer part of it
  const auto events = ring.drain();
  EXPECT(events.size() == 3);
  EXPECT(events[0].offset == 3 && events[1].offset == 4 && events[1].before[0] == 2 && events[2].offset == 2);
  MemoryVariable gone = variable_of(memory_allocate(10), 10);
  gone.live_size = reinterpret_cast<const std::int64_t*>(8);
  EXPECT(memory_watch(gone) != 0);
  bytes_of(gone.base)[0] = 1;
  EXPECT(ring.drain().empty());
}

void one_store_many_variables() {
  CaptureRing ring;
  start(ring);
  auto* memory = static_cast<char*>(memory_allocate(200));
  for (int i = 0; i < 4; ++i) {
    MemoryVariable variable = variable_of(memory + i * 8, 8);
    variable.variable = static_cast<DictionaryRef>(i + 1);
    EXPECT(memory_watch(variable) != 0);
  }
  __asm__ volatile("vmovdqu %%ymm0, 4(%0)" : : "r"(memory) : "memory");
  const auto events = ring.drain();
  EXPECT(events.size() == 4);
  EXPECT(events[0].offset == 4 && events[0].before.size() == 4 && events[3].before.size() == 8);
  for (int i = 0; i < 200; ++i) EXPECT(memory_watch(variable_of(memory, 1)) != 0);
  void* to = memory;
  std::size_t count = 150;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(1) : "memory");
  EXPECT(memory[149] == 1);
}

void heap_neighbours_live_on() {
  CaptureRing ring;
  start(ring);
  std::vector<unsigned char*> blocks;
  for (int i = 0; i < 200; ++i) blocks.push_back(static_cast<unsigned char*>(malloc(48)));
  const RegionId region = memory_watch(variable_of(blocks[100], 48));
  EXPECT(region != 0);
  for (int i = 0; i < 200; ++i) {
    memset(blocks[i], i, 48);
    if (i != 100 && i % 2 == 0) free(blocks[i]);
  }
  for (int i = 0; i < 100; ++i) blocks.push_back(static_cast<unsigned char*>(malloc(static_cast<std::size_t>(i) + 20)));
  for (int i = 0; i < 48; ++i) EXPECT(blocks[100][i] == 100);
  std::vector<unsigned char> replayed(48);
  const auto events = ring.drain();
  memcpy(replayed.data(), events.at(0).before.data(), 0);
  EXPECT(!events.empty() && ring.header().neighbour_traps > 0);
  memory_unwatch(region, Op::kFreed);
  EXPECT(ring.drain().back().op == Op::kFreed);
  const auto traps = ring.header().neighbour_traps.load();
  memset(blocks[99], 1, 48);
  EXPECT(ring.header().neighbour_traps == traps);
  memory_unwatch(region, Op::kFreed);  // stale: nothing happens
  EXPECT(ring.drain().empty());
}

void shared_mapping_keeps_every_store() {
  CaptureRing ring;
  start(ring);
  auto* memory = static_cast<std::uint64_t*>(
      mmap(nullptr, 2 * kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const RegionId region = memory_watch(variable_of(memory, 2 * kPageBytes, 8));
  EXPECT(region != 0);
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) __atomic_fetch_add(&memory[3], 1, __ATOMIC_SEQ_CST);
  });
  for (int i = 0; i < 1000; ++i) __atomic_fetch_add(&memory[3], 1, __ATOMIC_SEQ_CST);
  other.join();
  EXPECT(memory[3] == 2000 && ring.drain().size() == 2000 && ring.header().single_steps == 0);
  memory_unwatch(region, Op::kCount);
  memory[4] = 1;
  EXPECT(ring.drain().empty());
}

void dangerous_memory_is_refused() {
  CaptureRing ring;
  start(ring);
  char local[64];
  errno = 0;
  EXPECT(memory_watch(variable_of(local, sizeof local)) == 0 && errno == EBUSY);
  static thread_local char own[16];
  EXPECT(memory_watch(variable_of(own, sizeof own)) == 0 && errno == EBUSY);
  char* mine = own;
  EXPECT(memory_watch(variable_of(nullptr, 8)) == 0 && errno == EINVAL);
  EXPECT(memory_watch(variable_of(&ring, 0)) == 0 && errno == EINVAL);
  EXPECT(memory_watch(variable_of(const_cast<char*>("text"), 4)) == 0 && errno == EFAULT);
  std::thread([&] {
    char there[64];
    EXPECT(memory_watch(variable_of(there, sizeof there)) == 0 && errno == EBUSY);
    EXPECT(memory_watch(variable_of(own, sizeof own)) == 0 && errno == EBUSY);
    EXPECT(memory_watch(variable_of(local, sizeof local)) == 0 && errno == EBUSY);
    EXPECT(memory_watch(variable_of(mine, sizeof own)) == 0 && errno == EBUSY);
  }).join();
}

/// A thread's stack and block, given away by pointer; and what only lies near them.
void other_threads_memory_is_refused() {
  CaptureRing ring;
  start(ring);
  static thread_local char own[16];
  struct Given {
    char* on_stack = nullptr;
    char* in_block = nullptr;
    int stop[2];
  } given;
  EXPECT(pipe(given.stop) == 0);
  const auto wait = [](void* argument) -> void* {
    auto* out = static_cast<Given*>(argument);
    char there[64];
    out->in_block = own;
    __atomic_store_n(&out->on_stack, &there[0], __ATOMIC_RELEASE);
    return reinterpret_cast<void*>(read(out->stop[0], there, 1));
  };
  const auto expect_refusals = [&] {
    while (__atomic_load_n(&given.on_stack, __ATOMIC_ACQUIRE) == nullptr) usleep(100);
    errno = 0;
    EXPECT(memory_watch(variable_of(given.on_stack, 64)) == 0 && errno == EBUSY);
    EXPECT(memory_watch(variable_of(given.on_stack - 8 * kPageBytes, 64)) == 0 && errno == EBUSY);
    EXPECT(memory_watch(variable_of(given.in_block, 16)) == 0 && errno == EBUSY);
    given.on_stack = nullptr;
  };
  pthread_t first, second;
  EXPECT(pthread_create(&first, nullptr, wait, &given) == 0);
  expect_refusals();
  void* beside = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(memory_watch(variable_of(beside, 8)) != 0);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  constexpr std::size_t kStackBytes = 256 * 1024;
  pthread_attr_setstack(
      &attributes, mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), kStackBytes);
  EXPECT(pthread_create(&second, &attributes, wait, &given) == 0);
  expect_refusals();
  EXPECT(write(given.stop[1], "xx", 2) == 2);
  pthread_join(first, nullptr);
  pthread_join(second, nullptr);
}

/// A child runs on the stack of the thread that forked: there is no [stack] in use, and thread and process id are one.
void a_forked_threads_stack_is_refused() {
  CaptureRing ring;
  start(ring);
  int status = -1;
  std::thread([&] {
    char here[64];
    auto* there = reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(here) -
                                          8 * kPageBytes);  // well below the thread's block
    memory_before_fork();
    const pid_t child = fork();
    if (child == 0) {
      memory_after_fork_child();
      EXPECT(memory_watch(variable_of(there, sizeof here)) == 0 && errno == EBUSY);
      std::thread([&] { EXPECT(memory_watch(variable_of(there, sizeof here)) == 0 && errno == EBUSY); }).join();
      EXPECT(memory_watch(variable_of(malloc(64), 64)) != 0);
      _exit(0);
    }
    memory_after_fork_parent();
    waitpid(child, &status, 0);
  }).join();
  EXPECT(status == 0);
}

void arena_allocates_and_frees() {
  CaptureRing ring;
  start(ring);
  std::vector<unsigned char*> blocks;
  for (std::size_t i = 1; i < 300; ++i) {
    auto* block = static_cast<unsigned char*>(memory_allocate(i * 700));
    EXPECT(block != nullptr && reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
    EXPECT(memory_allocated(block) >= i * 700);
    for (std::size_t k = 0; k < i * 700; k += 500) EXPECT(block[k] == 0);
    memset(block, static_cast<int>(i), i * 700);
    blocks.push_back(block);
    if (i % 3 == 0) {
      EXPECT(memory_free(blocks[i / 2]) == 1);
      EXPECT(memory_free(blocks[i / 2]) == 0);
      blocks[i / 2] = static_cast<unsigned char*>(memory_allocate(3));
      EXPECT(blocks[i / 2][0] == 0);
    }
  }
  EXPECT(memory_allocated(blocks[5] + 1) == 0 && memory_allocated(&ring) == 0 && memory_free(&ring) == 0);
  EXPECT(memory_watch(variable_of(blocks[7], 8)) != 0);
  EXPECT(memory_free(blocks[7]) == 1);
  const auto events = ring.drain();
  EXPECT(events.size() == 1 && events[0].op == Op::kFreed);
}

void resize_moves_the_watch() {
  CaptureRing ring;
  start(ring);
  auto* memory = static_cast<unsigned char*>(memory_allocate(kPageBytes));
  EXPECT(memory_watch(variable_of(memory, kPageBytes)) != 0);
  memory[10] = 3;
  EXPECT(memory_resize(memory, kPageBytes - 8) == memory);
  auto* moved = static_cast<unsigned char*>(memory_resize(memory, 5 * kPageBytes));
  EXPECT(moved != nullptr && moved != memory && moved[10] == 3);
  EXPECT(memory_allocated(moved) == 5 * kPageBytes && memory_allocated(memory) == 0);
  bytes_of(moved)[4 * kPageBytes] = 9;
  const auto events = ring.drain();
  EXPECT(events.size() == 3 && events[1].op == Op::kMoved && events[2].offset == 4 * kPageBytes);
}

void many_regions() {
  CaptureRing ring;
  start(ring);
  std::vector<volatile unsigned char*> blocks;
  for (int i = 0; i < 10'000; ++i) {
    void* block = memory_allocate(64);
    EXPECT(block != nullptr && memory_watch(variable_of(block, 64)) != 0);
    blocks.push_back(bytes_of(block));
  }
  for (auto* block : blocks) *block = 1;
  EXPECT(ring.drain().size() == 10'000);
}

/// Neither process sees the other's stores, both go on recording.
void fork_is_private(const char* engine, bool own_pages) {
  CaptureRing ring;
  start(ring, engine);
  auto* words = static_cast<volatile std::uint64_t*>(
      own_pages ? memory_allocate(2 * kPageBytes)
                : mmap(nullptr, 2 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  EXPECT(memory_watch(variable_of(const_cast<std::uint64_t*>(words), kPageBytes, 8)) != 0);
  auto* unwatched = own_pages ? bytes_of(memory_allocate(10)) : nullptr;
  words[0] = 1;
  int go[2], done[2];
  EXPECT(pipe(go) == 0 && pipe(done) == 0);
  std::atomic<bool> stop{false};
  std::thread other([&] {  // stores all the while, to a watched word and to memory of ours that is not watched
    while (!stop) {
      words[2] = words[2] + 1;
      if (unwatched != nullptr) unwatched[5] = static_cast<unsigned char>(unwatched[5] + 1);
    }
  });
  memory_before_fork();
  const pid_t child = fork();
  if (child == 0) {
    memory_after_fork_child();
    const std::uint64_t frozen = words[2];
    char byte;
    EXPECT(read(go[0], &byte, 1) == 1);
    EXPECT(words[0] == 1 && words[2] == frozen);
    words[0] = 100;
    words[600] = 5;
    EXPECT(words[0] == 100);
    EXPECT(write(done[1], "x", 1) == 1);
    _exit(0);
  }
  memory_after_fork_parent();
  words[0] = 2;
  words[1] = 3;
  EXPECT(write(go[1], "x", 1) == 1);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT(status == 0);
  EXPECT(words[0] == 2 && words[600] == 0);
  stop = true;
  other.join();
  std::size_t from_child = 0, from_parent = 0;
  for (const MemoryEvent& event : ring.drain()) {
    if (event.offset != 0) continue;
    from_child += event.thread_id == static_cast<std::uint32_t>(child);
    from_parent += event.thread_id == static_cast<std::uint32_t>(getpid());
  }
  EXPECT(from_child == 1 && from_parent == 2);
}

/// A fork that nobody told us of: the child's stores must not reach the parent through its inherited descriptor.
void raw_fork_is_private() {
  CaptureRing ring;
  start(ring);
  auto* words = static_cast<volatile std::uint64_t*>(
      mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  EXPECT(memory_watch(variable_of(const_cast<std::uint64_t*>(words), kPageBytes, 8)) != 0);
  words[0] = 1;
  const pid_t child = fork();
  if (child == 0) {
    words[0] = 2;
    _exit(words[0] == 2 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT(status == 0 && words[0] == 1);
}

/// Descriptors of a host that closes everything and opens files of its own in our place.
void descriptors_are_not_trusted() {
  CaptureRing ring;
  start(ring);
  auto* words = static_cast<volatile std::uint64_t*>(
      mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  EXPECT(memory_watch(variable_of(const_cast<std::uint64_t*>(words), kPageBytes, 8)) != 0);
  words[0] = 1;
  close_range(3, ~0u, 0);
  const int file = memfd_create("host", 0);
  for (int i = 900; i < 910; ++i) dup2(file, i);
  words[0] = 2;
  EXPECT(words[0] == 2 && lseek(file, 0, SEEK_END) == 0);
  EXPECT(ring.drain().size() == 2);
}

}  // namespace

#define SCENARIO_OK(scenario) CHECK(status_of_child(scenario) == 0)

TEST_CASE("captured ranges are whole items of what is visible") {
  SCENARIO_OK(items_are_whole);
  SCENARIO_OK(live_cells_are_read_at_the_fault);
}
TEST_CASE("a store to several variables is an event of each") {
  SCENARIO_OK(one_store_many_variables);
}
TEST_CASE("memory is watched in its place, beside the allocator's own") {
  SCENARIO_OK(heap_neighbours_live_on);
}
TEST_CASE("a shared mapping is committed through a duplicate") {
  SCENARIO_OK(shared_mapping_keeps_every_store);
}
TEST_CASE("stacks, thread blocks and read-only memory are refused") {
  SCENARIO_OK(dangerous_memory_is_refused);
  SCENARIO_OK(other_threads_memory_is_refused);
  SCENARIO_OK(a_forked_threads_stack_is_refused);
}
TEST_CASE("the arena hands out zeroed pages and takes them back") {
  SCENARIO_OK(arena_allocates_and_frees);
}
TEST_CASE("a watch follows its memory") {
  SCENARIO_OK(resize_moves_the_watch);
}
TEST_CASE("ten thousand regions") {
  SCENARIO_OK(many_regions);
}
TEST_CASE("fork leaves parent and child to themselves") {
  SCENARIO_OK([] { fork_is_private("inline", true); });
  SCENARIO_OK([] { fork_is_private("inline", false); });
  SCENARIO_OK([] { fork_is_private("uffd", true); });
  SCENARIO_OK(raw_fork_is_private);
}
TEST_CASE("a descriptor that is no longer ours is not written to") {
  SCENARIO_OK(descriptors_are_not_trusted);
}

}  // namespace watcher::test
