// What a builtin stores at once, by memory_store.
#include <doctest/doctest.h>
#include <errno.h>

#include <thread>

#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

constexpr std::size_t kBytes = 4 * kPageBytes;

volatile unsigned char* memory_of(bool own_pages) {
  void* memory = own_pages ? memory_allocate(kBytes)
                           : mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return static_cast<volatile unsigned char*>(memory);
}

RegionId watch(volatile unsigned char* at, std::size_t bytes, DictionaryRef name) {
  MemoryVariable variable = variable_of(const_cast<unsigned char*>(at), bytes);
  variable.variable = name;
  const RegionId region = memory_watch(variable);
  EXPECT(region != 0);
  return region;
}

int store(volatile unsigned char* at, const std::vector<unsigned char>& bytes, std::uint64_t stores) {
  return memory_store(const_cast<unsigned char*>(at), bytes.data(), bytes.size(), stores, 3, 4);
}

void one_event_of_each_variable(const char* engine, bool own_pages) {
  CaptureRing ring;
  EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
  volatile unsigned char* memory = memory_of(own_pages);
  watch(memory + 100, 2 * kPageBytes, 7);
  watch(memory + kPageBytes + 50, 10, 8);
  const std::vector<unsigned char> ones(2 * kPageBytes, 1);
  EXPECT(store(memory, ones, 5) == 0);
  for (std::size_t i = 0; i < kBytes; ++i) EXPECT(memory[i] == (i < ones.size() ? 1 : 0));
  auto events = ring.drain();
  EXPECT(events.size() == 2);
  for (const MemoryEvent& event : events)
    EXPECT(event.op == Op::kWrite && event.coalesced == 5 && event.place == 3 && (event.flags & kInexact) == 0 &&
           event.thread_id == static_cast<std::uint32_t>(gettid()) && event.ranges.size() == 1 &&
           event.ranges[0].offset == 0);
  EXPECT(events[0].variable == 7 && events[0].ranges[0].length == ones.size() - 100);
  EXPECT(events[1].variable == 8 && events[1].ranges[0].length == 10);
  memory[200] = 2;  // the pages are closed
  EXPECT(store(memory + 200, {2, 3}, 2) == 0);
  EXPECT(store(memory + 3 * kPageBytes, {9}, 1) == 0);  // watched by nobody
  events = ring.drain();
  EXPECT(events.size() == 2 && events[0].before[0] == 1 && events[0].after[0] == 2);
  EXPECT(events[1].ranges[0].offset == 101 && events[1].before[0] == 1 && events[1].after[0] == 3);
  EXPECT(memory_pause() == 0 && store(memory + 200, {7}, 1) == 0 && ring.drain().empty() && memory[200] == 7);
  EXPECT(memory_resume() == 0 && ring.drain().size() == 1);
}

void others_stores_are_told_meanwhile(const char* engine, bool own_pages) {
  constexpr int kRounds = 2'000;
  CaptureRing ring;
  EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
  volatile unsigned char* memory = memory_of(own_pages);
  watch(memory, kPageBytes, 7);
  std::thread other([memory] {
    for (int i = 1; i <= kRounds; ++i) memory[4000] = static_cast<unsigned char>(i);
  });
  for (int i = 1; i <= kRounds; ++i)
    EXPECT(store(memory, std::vector<unsigned char>(64, static_cast<unsigned char>(i)), 64) == 0);
  other.join();
  unsigned char last = 0, own = 0;
  int seen = 0;
  for (const MemoryEvent& event : ring.drain()) {
    unsigned char& value = event.coalesced == 0 ? last : own;
    EXPECT(event.before[0] == value);
    value = event.after[0];
    seen += event.coalesced == 0 ? 1 : 0;
  }
  EXPECT(seen == kRounds);
}

}  // namespace

TEST_CASE("what a builtin stores is one event of each variable") {
  for (const bool own_pages : {true, false})
    for (const char* engine : {"inline", "uffd"})
      CHECK(status_of_child([&] { one_event_of_each_variable(engine, own_pages); }) == 0);
}
TEST_CASE("other threads' stores are told while a builtin stores") {
  for (const bool own_pages : {true, false})
    for (const char* engine : {"inline", "uffd"})
      CHECK(status_of_child([&] { others_stores_are_told_meanwhile(engine, own_pages); }) == 0);
}

}  // namespace watcher::test
