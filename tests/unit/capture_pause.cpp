// What a pause costs and what its end tells.
#include <doctest/doctest.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

using Words = volatile std::uint64_t*;

enum class Kind { kOwnPages, kInPlace, kShared };

constexpr std::size_t kBytes = 4 * kPageBytes;

Words words_of(Kind kind) {
  const int flags = MAP_ANONYMOUS | (kind == Kind::kShared ? MAP_SHARED : MAP_PRIVATE);
  void* memory =
      kind == Kind::kOwnPages ? memory_allocate(kBytes) : mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  return static_cast<Words>(memory);
}

RegionId watch(Words words, std::size_t bytes = kBytes, DictionaryRef name = 7) {
  MemoryVariable variable = variable_of(const_cast<std::uint64_t*>(words), bytes, 8);
  variable.variable = name;
  const RegionId region = memory_watch(variable);
  EXPECT(region != 0);
  return region;
}

void start(CaptureRing& ring, const char* engine = "inline") {
  EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
}

void expect_resumed(const MemoryEvent& event, std::uint64_t offset, std::uint64_t length) {
  EXPECT(event.op == Op::kResumed && event.ranges.size() == 1);
  EXPECT(event.ranges[0].offset == offset && event.ranges[0].length == length);
  EXPECT((event.flags & kInexact) != 0 && event.thread_id == 0 && event.coalesced == 0);
}

void a_pause_is_told_as_one_change(const char* engine, Kind kind) {
  CaptureRing ring;
  start(ring, engine);
  Words words = words_of(kind);
  watch(words);
  words[1] = 1;
  EXPECT(memory_resume() == EALREADY);
  EXPECT(memory_pause() == 0);
  EXPECT(memory_pause() == EALREADY);
  words[1] = 2;
  for (std::size_t i = 600; i < 610; ++i) words[i] = ~std::uint64_t{0};
  EXPECT(ring.drain().size() == 1);
  EXPECT(memory_resume() == 0);
  words[1] = 3;
  const auto events = ring.drain();
  EXPECT(events.size() == 2);
  EXPECT(events[0].op == Op::kResumed && events[0].ranges.size() == 2 && (events[0].flags & kInexact) != 0);
  EXPECT(events[0].ranges[0].offset == 8 && events[0].ranges[1].offset == 4800 && events[0].ranges[1].length == 80);
  EXPECT(events[0].before[0] == 1 && events[0].after[0] == 2);
  EXPECT(events[1].op == Op::kWrite && events[1].before[0] == 2 && events[1].after[0] == 3);
  EXPECT(memory_pause() == 0 && memory_resume() == 0);
  EXPECT(ring.drain().empty());  // nothing changed
  words[1] = 4;
  EXPECT(ring.drain().size() == 1);
}

void variables_come_and_go_meanwhile() {
  CaptureRing ring;
  start(ring);
  Words stays = words_of(Kind::kOwnPages), ends = words_of(Kind::kShared), comes = words_of(Kind::kInPlace);
  watch(stays, kBytes, 1);
  const RegionId ending = watch(ends, kBytes, 2);
  EXPECT(memory_pause() == 0);
  stays[0] = 1;
  ends[0] = 1;
  const RegionId coming = watch(comes, kBytes, 3);
  watch(stays + 1, 8, 4);  // on pages that are placed already
  comes[0] = 1;
  stays[1] = 1;
  memory_unwatch(ending, Op::kFreed);
  const RegionId brief = watch(ends, kBytes, 5);
  memory_unwatch(brief, Op::kCount);
  auto events = ring.drain();
  EXPECT(events.size() == 1 && events[0].op == Op::kFreed && events[0].variable == 2);
  EXPECT(memory_resume() == 0);
  ends[0] = 2;
  comes[0] = 3;
  events = ring.drain();
  EXPECT(events.size() == 2 && events[0].variable == 1 && events[1].variable == 3 && events[1].before[0] == 1);
  expect_resumed(events[0], 0, 16);
  memory_unwatch(coming, Op::kCount);
  comes[0] = 4;
  EXPECT(ring.drain().empty());
}

void it_starts_paused_when_paused_before() {
  CaptureRing ring;
  EXPECT(memory_pause() == 0);
  start(ring);
  Words words = words_of(Kind::kOwnPages);
  const RegionId region = watch(words);
  words[0] = 1;
  std::uint64_t value = 2;
  EXPECT(memory_write(region, &value, sizeof value, 5) == 0 && words[0] == 2);
  EXPECT(memory_resume() == 0 && ring.drain().empty());
  value = 3;
  EXPECT(memory_write(region, &value, sizeof value, 5) == 0 && words[0] == 3);
  EXPECT(memory_read(region, &value, sizeof value) == 0 && value == 3);
  EXPECT(memory_read(region, &value, kBytes + 1) == EINVAL && memory_read(region + 1, &value, 8) == ENOENT);
  const auto events = ring.drain();
  EXPECT(events.size() == 1 && events[0].ip == 5 && events[0].before[0] == 2 && events[0].op == Op::kWrite);
}

void memory_moves_and_goes_meanwhile() {
  CaptureRing ring;
  start(ring);
  void* memory = memory_allocate(kBytes);
  watch(static_cast<Words>(memory), kBytes, 1);
  Words freed = words_of(Kind::kOwnPages), unmapped = words_of(Kind::kInPlace);
  watch(freed, kBytes, 2);
  watch(unmapped, kBytes, 3);
  EXPECT(memory_pause() == 0);
  static_cast<Words>(memory)[3] = 1;
  auto moved = static_cast<Words>(memory_resize(memory, 2 * kBytes));
  EXPECT(moved != nullptr && moved[3] == 1);
  moved[4] = 2;
  moved[kBytes / 8 + 1] = 3;  // behind what was copied
  EXPECT(memory_free(const_cast<std::uint64_t*>(freed)) == 1);
  EXPECT(munmap(const_cast<std::uint64_t*>(unmapped) + kPageBytes / 8, kPageBytes) == 0);
  EXPECT(memory_resume() == 0);
  const auto events = ring.drain();
  EXPECT(events.size() == 4);
  EXPECT(events[0].op == Op::kMoved && events[1].op == Op::kFreed && events[1].variable == 2);
  expect_resumed(events[2], 24, 16);
  EXPECT(events[3].op == Op::kFreed && events[3].variable == 3);
  unmapped[0] = 1;
  moved[0] = 1;
  EXPECT(ring.drain().size() == 1);
}

void no_room_for_the_copy_changes_nothing() {
  CaptureRing ring;
  start(ring);
  constexpr std::size_t kMany = 64u << 20;
  Words words = static_cast<Words>(mmap(nullptr, kMany, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  watch(words, kMany);
  const rlimit limit{32u << 20, 32u << 20};
  EXPECT(setrlimit(RLIMIT_AS, &limit) == 0);
  EXPECT(memory_pause() == ENOMEM);
  words[0] = 1;
  EXPECT(ring.drain().size() == 1 && memory_resume() == EALREADY);
}

/// A call that the kernel still works on when the pause ends must find its buffer writable.
void a_call_may_outlast_the_pause() {
  CaptureRing ring;
  start(ring);
  Words words = words_of(Kind::kInPlace);
  watch(words);
  EXPECT(memory_pause() == 0);
  auto* buffer = const_cast<std::uint64_t*>(words);
  std::uint64_t token = 0;
  auto* target = static_cast<std::uint64_t*>(kernel_write_begin(buffer, 16, &token));
  EXPECT(memory_resume() == 0);
  target[0] = 11;
  target[1] = 12;
  kernel_write_end(buffer, 16, token, SYS_read);
  EXPECT(words[0] == 11 && words[1] == 12);
  auto events = ring.drain();
  EXPECT(events.size() == 1 && events[0].op == Op::kKernelWrite && events[0].after.size() == 16);
  // and one that begins and ends in it is part of the difference
  EXPECT(memory_pause() == 0);
  token = 0;
  target = static_cast<std::uint64_t*>(kernel_write_begin(buffer, 8, &token));
  *target = 13;
  if (token > 1) kernel_write_end(buffer, 8, token, SYS_read);
  EXPECT(memory_resume() == 0 && words[0] == 13);
  events = ring.drain();
  EXPECT(events.size() == 1);
  expect_resumed(events[0], 0, 8);
}

void both_processes_resume(const char* engine, Kind kind) {
  CaptureRing ring;
  start(ring, engine);
  Words words = words_of(kind);
  watch(words);
  EXPECT(memory_pause() == 0);
  words[0] = 1;
  memory_before_fork();
  const pid_t child = fork();
  if (child == 0) {
    memory_after_fork_child();
    words[1] = 2;
    EXPECT(memory_resume() == 0);
    words[2] = 3;
    EXPECT(words[0] == 1 && words[1] == 2 && words[2] == 3);
    const auto events = ring.drain();
    EXPECT(events.size() == 2 && events[1].thread_id == static_cast<std::uint32_t>(getpid()));
    expect_resumed(events[0], 0, 16);
    _exit(0);
  }
  memory_after_fork_parent();
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT(status == 0 && words[1] == 0 && words[2] == 0);
  EXPECT(memory_resume() == 0);
  words[2] = 4;
  const auto events = ring.drain();
  EXPECT(events.size() == 2 && events[1].after[0] == 4);
  expect_resumed(events[0], 0, 8);
}

/// Whatever falls between the two: singles and differences make up the content without a gap.
void switching_under_stores(const char* engine, Kind kind) {
  CaptureRing ring;
  start(ring, engine);
  Words words = words_of(kind);
  watch(words, kPageBytes);
  constexpr int kPauses = 30;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> stored[2] = {};
  std::thread writers[2];
  for (std::size_t i = 0; i < 2; ++i)
    writers[i] = std::thread([&, i] {
      for (; !stop; ++stored[i]) __atomic_fetch_add(&words[i], 1, __ATOMIC_RELAXED);
    });
  for (int turn = 0; turn < 2 * kPauses; ++turn) {
    EXPECT((turn % 2 == 0 ? memory_pause() : memory_resume()) == 0);
    // one may have been stored before it was switched and counted after; the next one was not
    const std::uint64_t before = stored[turn % 4 / 2];
    do usleep(1000);
    while (stored[turn % 4 / 2] < before + 2);
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  std::vector<unsigned char> content(kPageBytes);
  const auto events = ring.drain();
  EXPECT(ring.header().dropped == 0 && chains(events, &content));
  EXPECT(words[0] == stored[0] && words[1] == stored[1]);
  EXPECT(memcmp(content.data(), const_cast<std::uint64_t*>(words), 16) == 0);
  std::size_t resumed = 0;
  for (const MemoryEvent& event : events) resumed += event.op == Op::kResumed;
  EXPECT(resumed == kPauses && events.size() >= 2 * kPauses);
}

}  // namespace

#define SCENARIO_OK(...) CHECK(status_of_child(__VA_ARGS__) == 0)

TEST_CASE("the end of a pause tells what changed, once") {
  for (const Kind kind : {Kind::kOwnPages, Kind::kInPlace, Kind::kShared})
    for (const char* engine : {"inline", "uffd"}) SCENARIO_OK([&] { a_pause_is_told_as_one_change(engine, kind); });
}
TEST_CASE("watches begin, end and move during a pause") {
  SCENARIO_OK(variables_come_and_go_meanwhile);
  SCENARIO_OK(memory_moves_and_goes_meanwhile);
  SCENARIO_OK(it_starts_paused_when_paused_before);
}
TEST_CASE("without room for the copy nothing is paused") {
  SCENARIO_OK(no_room_for_the_copy_changes_nothing);
}
TEST_CASE("a system call may outlast the pause") {
  SCENARIO_OK(a_call_may_outlast_the_pause);
}
TEST_CASE("a fork during a pause leaves both to resume") {
  SCENARIO_OK([] { both_processes_resume("inline", Kind::kOwnPages); });
  SCENARIO_OK([] { both_processes_resume("inline", Kind::kInPlace); });
  SCENARIO_OK([] { both_processes_resume("uffd", Kind::kOwnPages); });
}
TEST_CASE("singles and differences leave no gap under the stores of threads") {
  SCENARIO_OK([] { switching_under_stores("inline", Kind::kOwnPages); });
  SCENARIO_OK([] { switching_under_stores("inline", Kind::kInPlace); });
  SCENARIO_OK([] { switching_under_stores("uffd", Kind::kOwnPages); });
}

}  // namespace watcher::test
