// Many writers on one page, asynchronous signals between them, and system calls that write: nothing slips, nothing is
// attributed to another thread.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>

#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

/// WATCHER_TEST_WRITES: of all threads together, on one page; the campaign asks for 1,000,000.
int writes_asked_for() {
  const char* text = getenv("WATCHER_TEST_WRITES");
  return text != nullptr ? atoi(text) : 80'000;
}

/// WATCHER_TEST_ENGINE: only this one.
bool engine_asked_for(const char* engine) {
  const char* only = getenv("WATCHER_TEST_ENGINE");
  return only == nullptr || std::string(only) == engine;
}

std::vector<unsigned char> content_of(const void* memory, std::size_t bytes) {
  const auto* begin = static_cast<const unsigned char*>(memory);
  return {begin, begin + bytes};
}

void* buffer_for(bool own_pages, std::size_t bytes) {
  return own_pages ? memory_allocate(bytes)
                   : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

void hammer(const char* engine, bool own_pages, int threads) {
  const int rounds = writes_asked_for() / 2 / threads;
  alarm(900);
  CaptureRing ring(1u << 21);
  EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
  EXPECT(ring->dictionary().string(ring.header().engine) == engine);
  auto* words = static_cast<std::uint64_t*>(buffer_for(own_pages, kPageBytes));
  std::vector<unsigned char> replayed = content_of(words, kPageBytes);
  const RegionId region = memory_watch(variable_of(words, kPageBytes, 8));
  EXPECT(region != 0);
  std::atomic<std::uint32_t> ids[8] = {};
  std::atomic<int> running{threads};
  std::vector<std::thread> writers;
  for (int t = 0; t < threads; ++t)
    writers.emplace_back([&, t] {
      ids[t] = static_cast<std::uint32_t>(gettid());
      for (int i = 0; i < rounds; ++i) {
        __atomic_fetch_add(&words[0], 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&words[1 + t], static_cast<std::uint64_t>(i + 1), __ATOMIC_RELAXED);
      }
      --running;
    });
  // What came is checked and forgotten while they run: the ring need not hold it all.
  std::map<std::uint32_t, int> shared, own;
  std::size_t count = 0;
  const auto check = [&] {
    const std::vector<MemoryEvent> events = ring.drain();
    EXPECT(chains(events, &replayed));
    count += events.size();
    for (const MemoryEvent& event : events) {
      const int t = static_cast<int>(event.offset / 8) - 1;
      if (t >= 0) EXPECT(event.thread_id == ids[t]);
      ++(t < 0 ? shared : own)[event.thread_id];
    }
  };
  while (running != 0) {
    check();
    usleep(1000);
  }
  for (std::thread& writer : writers) writer.join();
  check();
  EXPECT(words[0] == static_cast<std::uint64_t>(threads) * static_cast<std::uint64_t>(rounds));
  EXPECT(count == static_cast<std::size_t>(threads) * static_cast<std::size_t>(rounds) * 2);
  EXPECT(memcmp(replayed.data(), words, kPageBytes) == 0);
  for (int t = 0; t < threads; ++t) EXPECT(shared[ids[t]] == rounds && own[ids[t]] == rounds);
  EXPECT(ring.header().dropped == 0);
  printf("%s, %s, %d threads: %zu writes, each one attributed\n", engine, own_pages ? "own pages" : "in place", threads,
         count);
  fflush(stdout);
}

volatile std::uint64_t* storm_words;
std::atomic<int> storm_ticks;

void on_alarm(int) {
  storm_words[1] = storm_words[1] + 1;
  ++storm_ticks;
}

void storm(const char* engine, bool own_pages) {
  constexpr std::uint64_t kStores = 100'000;
  CaptureRing ring;
  EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
  auto* words = static_cast<std::uint64_t*>(buffer_for(own_pages, kPageBytes));
  storm_words = words;
  std::vector<unsigned char> replayed = content_of(words, kPageBytes);
  EXPECT(memory_watch(variable_of(words, kPageBytes, 8)) != 0);
  struct sigaction action = {};
  action.sa_handler = on_alarm;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  const itimerval timer = {{0, 1000}, {0, 1000}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  volatile std::uint64_t* target = words;
  for (std::uint64_t i = 0; i < kStores; ++i) target[0] = i + 1;
  const itimerval off = {};
  setitimer(ITIMER_REAL, &off, nullptr);
  const std::vector<MemoryEvent> events = ring.drain();
  EXPECT(chains(events, &replayed));
  EXPECT(words[0] == kStores);
  EXPECT(words[1] == static_cast<std::uint64_t>(storm_ticks));
  EXPECT(storm_ticks > 10);
  EXPECT(events.size() == kStores + static_cast<std::size_t>(storm_ticks));
}

std::size_t redirected_read(int file, unsigned char* to, std::size_t bytes) {
  std::uint64_t token = 0;
  void* target = kernel_write_begin(to, bytes, &token);
  const ssize_t got = read(file, target, bytes);
  if (target != to) kernel_write_end(to, got > 0 ? static_cast<std::size_t>(got) : 0, token, 0);
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

void read_into(bool own_pages, std::size_t bytes) {
  CaptureRing ring;
  EXPECT(memory_start(ring.get(), "inline", nullptr) == 0);
  const std::size_t room = (bytes + 3 * kPageBytes) & ~(kPageBytes - 1);
  auto* memory = static_cast<unsigned char*>(buffer_for(own_pages, room));
  std::vector<unsigned char> expected(bytes);
  for (std::size_t i = 0; i < bytes; ++i) expected[i] = static_cast<unsigned char>(i * 31 + 7);
  const int file = memfd_create("content", 0);
  EXPECT(write(file, expected.data(), bytes) == static_cast<ssize_t>(bytes));
  lseek(file, 0, SEEK_SET);
  EXPECT(memory_watch(variable_of(memory + 100, bytes, 8)) != 0);
  std::vector<unsigned char> replayed(bytes);
  std::atomic<bool> stop{false};
  std::thread other([&] {  // stores of another thread to the same pages, during the call
    volatile unsigned char* first = memory + 100;
    while (!stop) first[0] = static_cast<unsigned char>(first[0] + 1);
  });
  EXPECT(redirected_read(file, memory + 101, bytes - 1) == bytes - 1);
  stop = true;
  other.join();
  EXPECT(memcmp(memory + 101, expected.data(), bytes - 1) == 0);
  const std::vector<MemoryEvent> events = ring.drain();
  EXPECT(chains(events, &replayed));
  EXPECT(memcmp(replayed.data(), memory + 100, bytes) == 0);
  std::size_t from_kernel = 0;
  for (const MemoryEvent& event : events) from_kernel += event.op == Op::kKernelWrite;
  EXPECT(from_kernel > 0);
  EXPECT(ring.header().kernel_redirects == 1);
  std::uint64_t token = 0;
  // Of memory of ours even what is not watched: during a fork it is protected.
  EXPECT((kernel_write_begin(memory + room - 1, 1, &token) != memory + room - 1) == own_pages);
  unsigned char elsewhere[8];
  EXPECT(kernel_write_begin(elsewhere, sizeof elsewhere, &token) == elsewhere);
}

/// With the uffd engine no interposition is needed: the kernel's store itself is served.
void read_without_redirection() {
  CaptureRing ring;
  EXPECT(memory_start(ring.get(), "uffd", nullptr) == 0);
  constexpr std::size_t kBytes = 3 * kPageBytes;
  auto* memory = static_cast<unsigned char*>(memory_allocate(kBytes));
  EXPECT(memory_watch(variable_of(memory, kBytes)) != 0);
  std::vector<unsigned char> expected(kBytes, 0x5a);
  std::vector<unsigned char> replayed(kBytes);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  EXPECT(write(ends[1], expected.data(), kBytes) == static_cast<ssize_t>(kBytes));
  EXPECT(read(ends[0], memory, kBytes) == static_cast<ssize_t>(kBytes));
  usleep(50'000);
  volatile unsigned char* stores = memory;
  for (int i = 0; i < 100; ++i) stores[i] = static_cast<unsigned char>(i);
  EXPECT(chains(ring.drain(), &replayed));
  EXPECT(memcmp(replayed.data(), memory, kBytes) == 0);
}

bool has_uffd() {
  return status_of_child([] {
           CaptureRing ring(1u << 12);
           EXPECT(memory_start(ring.get(), "uffd", nullptr) == 0);
           if (ring->dictionary().string(ring.header().engine) != "uffd") _exit(1);
         }) == 0;
}

}  // namespace

TEST_CASE("two to eight threads on one page: totals exact, every store attributed") {
  if (!engine_asked_for("inline")) return;
  for (const bool own_pages : {true, false})
    for (const int threads : {2, 4, 8}) {
      CAPTURE(own_pages);
      CAPTURE(threads);
      CHECK(status_of_child([&] { hammer("inline", own_pages, threads); }) == 0);
    }
}

TEST_CASE("a storm of signals whose handler stores to the same page") {
  CHECK(status_of_child([] { storm("inline", true); }) == 0);
  CHECK(status_of_child([] { storm("inline", false); }) == 0);
}

TEST_CASE("what system calls write is told, in order with other threads' stores") {
  for (const bool own_pages : {true, false})
    for (const std::size_t bytes : {10ul, 5000ul, 300'000ul}) {
      CAPTURE(own_pages);
      CAPTURE(bytes);
      CHECK(status_of_child([&] { read_into(own_pages, bytes); }) == 0);
    }
}

TEST_CASE("the uffd engine is as exact, and serves the kernel's own stores") {
  if (!engine_asked_for("uffd")) return;
  if (!has_uffd()) {
    MESSAGE("no full-privilege userfaultfd here: skipped");
    return;
  }
  for (const int threads : {2, 4, 8}) {
    CAPTURE(threads);
    CHECK(status_of_child([&] { hammer("uffd", true, threads); }) == 0);
  }
  CHECK(status_of_child(read_without_redirection) == 0);
}

}  // namespace watcher::test
