// A watched buffer under the uffd engine, for its tests.
#pragma once

#include <doctest/doctest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/base/raw_syscall.h"
#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {

inline constexpr std::size_t kPages = 24;
inline constexpr std::size_t kBytes = kPages * kPageBytes;

inline bool has_uffd() {
  return status_of_child([] {
           CaptureRing ring(1u << 12);
           EXPECT(memory_start(ring.get(), "auto", nullptr) == 0);
           if (ring->dictionary().string(ring.header().engine) != "uffd") _exit(1);
         }) == 0;
}

inline std::uint32_t own_id() {
  return static_cast<std::uint32_t>(gettid());
}

inline constexpr DictionaryRef kPlace = 5;

inline DictionaryRef place_of_everyone(void*, DictionaryRef*) {
  return kPlace;
}

/// A watched buffer under the uffd engine, and what its events say it holds.
struct Watched {
  CaptureRing ring;
  unsigned char* memory;
  std::vector<unsigned char> replayed;
  RegionId region;

  explicit Watched(std::size_t bytes = kBytes, const char* engine = "uffd") : replayed(bytes) {
    EXPECT(memory_start(ring.get(), engine, place_of_everyone) == 0);
    EXPECT(ring->dictionary().string(ring.header().engine) == "uffd");
    memory = static_cast<unsigned char*>(memory_allocate(bytes));
    region = memory_watch(variable_of(memory, bytes));
    EXPECT(region != 0);
  }

  /// Since the last call; each must follow from the ones before.
  std::vector<MemoryEvent> events() {
    const std::vector<MemoryEvent> found = ring.drain();
    EXPECT(chains(found, &replayed));
    EXPECT(memcmp(replayed.data(), memory, replayed.size()) == 0);
    return found;
  }

  /// What has just happened is one event, of this thread's system call.
  void expect_one(const char* what, long number, std::size_t from, std::size_t bytes) {
    const std::vector<MemoryEvent> found = events();
    const bool right = found.size() == 1 && found[0].op == Op::kKernelWrite && found[0].thread_id == own_id() &&
                       found[0].system_call == static_cast<std::uint32_t>(number) + 1 && found[0].offset == from &&
                       found[0].place == kPlace && found[0].after.size() == bytes;
    if (right) return;
    fprintf(stderr, "%s: %zu events\n", what, found.size());
    for (const MemoryEvent& event : found)
      fprintf(stderr, "  op %d thread %u call %u offset %lu bytes %zu\n", static_cast<int>(event.op), event.thread_id,
              event.system_call, event.offset, event.after.size());
    _exit(98);
  }
};

inline void fill_pipe(int end, std::size_t bytes, unsigned char first) {
  std::vector<unsigned char> content(bytes);
  for (std::size_t i = 0; i < bytes; ++i) content[i] = static_cast<unsigned char>(first + i % 251 + 1) | 1;
  EXPECT(write(end, content.data(), bytes) == static_cast<ssize_t>(bytes));
}

inline void check(void (*scenario)()) {
  if (!has_uffd()) {
    MESSAGE("no full-privilege userfaultfd here: skipped");
    return;
  }
  CHECK(status_of_child(scenario) == 0);
}

}  // namespace watcher::test
