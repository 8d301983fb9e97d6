// Sampling: what changed is told within an interval, without a store trapping or anything of the host's failing.
#include <doctest/doctest.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "runtime/capture/engines/engine.h"
#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

constexpr uid_t kNobody = 65534;
constexpr std::size_t kBytes = 64 * kPageBytes;

volatile std::uint64_t* map_words(int flags = MAP_PRIVATE | MAP_ANONYMOUS, int file = -1) {
  return static_cast<volatile std::uint64_t*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, flags, file, 0));
}

struct Host {
  explicit Host(uid_t user = 0) {
    if (user != 0) EXPECT(setresuid(user, user, user) == 0);
    prctl(PR_SET_DUMPABLE, 1);  // a program that this user started is his own to look into
    sampled_engine_every(2);
    EXPECT(memory_start(ring.get(), "sampled", nullptr) == 0);
  }
  RegionId watch(volatile std::uint64_t* at, std::size_t bytes) {
    const RegionId id = memory_watch(variable_of(const_cast<std::uint64_t*>(at), bytes, 8));
    EXPECT(id != 0);
    return id;
  }
  /// Applies every event to a copy of what was there at first: that must give what is there now.
  bool replays(std::vector<unsigned char> content, volatile std::uint64_t* now) {
    memory_flush();
    for (const MemoryEvent& event : ring.drain()) {
      if (event.op != Op::kWrite || event.thread_id != 0 || (event.flags & kInexact) == 0) return false;
      std::size_t at = 0;
      for (const BulkRange& range : event.ranges) {
        if (memcmp(content.data() + range.offset, event.before.data() + at, range.kept) != 0) return false;
        memcpy(content.data() + range.offset, event.after.data() + at, range.kept);
        at += range.kept;
      }
    }
    return memcmp(content.data(), const_cast<std::uint64_t*>(now), content.size()) == 0;
  }
  CaptureRing ring{1u << 16};
};

bool available() {
  return WEXITSTATUS(status_of_child([] {
           CaptureRing ring{1u << 10};
           memory_start(ring.get(), "sampled", nullptr);
           _exit(ring->dictionary().string(ring.header().engine) == "sampled" ? 0 : 77);
         })) != 77;
}

void changes_are_told(volatile std::uint64_t* words, uid_t user = 0) {
  Host host(user);
  words[9] = 4;
  std::vector<unsigned char> content(kBytes);
  memcpy(content.data(), const_cast<std::uint64_t*>(words), kBytes);
  const RegionId region = host.watch(words, kBytes);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) words[1000] = words[1000] + 1;
  });
  for (std::uint64_t i = 0; i < 200; ++i) {
    words[i * 40 % 8192] = i + 1;
    usleep(100);
  }
  int ends[2];
  EXPECT(pipe(ends) == 0 && write(ends[1], "abcdefgh", 8) == 8);
  EXPECT(syscall(SYS_read, ends[0], &words[3000], 8) == 8);
  stop = true;
  other.join();
  EXPECT(host.replays(content, words));
  EXPECT(host.ring.header().neighbour_traps == 0);
  words[5] = 99;
  memory_unwatch(region, Op::kFreed);
  const auto events = host.ring.drain();
  EXPECT(events.size() == 2 && events[0].op == Op::kWrite && events[1].op == Op::kFreed);
  memory_flush();
}

void neighbours_on_a_page() {
  Host host;
  volatile std::uint64_t* words = map_words();
  for (int i = 0; i < 8; ++i) host.watch(words + i, 8);
  for (std::uint64_t round = 1; round < 20; ++round) {
    for (int i = 0; i < 8; ++i) words[i] = round;
    memory_flush();
    memory_flush();
    EXPECT(host.ring.drain().size() == 8);
  }
}

void forked() {
  Host host;
  auto* words = static_cast<volatile std::uint64_t*>(memory_allocate(kPageBytes));
  host.watch(words, kPageBytes);
  words[0] = 1;
  memory_flush();
  EXPECT(host.ring.drain().size() == 1);
  memory_before_fork();
  const pid_t child = fork();
  if (child == 0) {
    memory_after_fork_child();
    words[1] = 100;
    memory_flush();
    _exit(0);
  }
  memory_after_fork_parent();
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT(status == 0 && words[1] == 0);
  EXPECT(host.ring.drain().size() == 1);
  words[2] = 1;
  memory_flush();
  EXPECT(host.ring.drain().size() == 1);
}

/// The memory goes without a word to us, and its owner closes every descriptor.
void behind_our_back() {
  Host host;
  volatile std::uint64_t* words = map_words();
  volatile std::uint64_t* others = map_words();
  host.watch(words, kBytes);
  host.watch(others, kBytes);
  syscall(SYS_close_range, 3, ~0u, 0);
  syscall(SYS_munmap, words, kBytes);
  others[4] = 4;
  memory_flush();
  EXPECT(host.ring.drain().size() == 1);
  EXPECT(fcntl(3, F_GETFD) == -1);
}

int threads_of_process() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++count;
  return count;
}

void killed_sampler() {
  Host host;
  EXPECT(threads_of_process() == 1);
  volatile std::uint64_t* words = map_words();
  host.watch(words, kBytes);
  const std::uint32_t first = host.ring.header().handler_pid;
  EXPECT(first != 0 && kill(static_cast<pid_t>(first), SIGKILL) == 0);
  for (int i = 0; i < 2000 && (host.ring.header().handler_pid == first || host.ring.header().handler_pid == 0); ++i)
    usleep(1000);
  EXPECT(host.ring.header().handler_lost == 1);
  words[7] = 7;
  memory_flush();
  EXPECT(host.ring.drain().size() == 1);
}

}  // namespace

TEST_CASE("what changed is told") {
  if (!available()) {
    MESSAGE("no asynchronous write protection here: Linux 6.7 has it");
    return;
  }
  CHECK(status_of_child([] { changes_are_told(map_words()); }) == 0);
  CHECK(status_of_child([] { changes_are_told(map_words(), getuid() == 0 ? kNobody : 0); }) == 0);
  CHECK(status_of_child([] { changes_are_told(map_words(MAP_SHARED | MAP_ANONYMOUS)); }) == 0);
  CHECK(status_of_child([] {
          const int file = open("/proc/self/exe", O_RDONLY);  // no memory that can be registered
          changes_are_told(map_words(MAP_PRIVATE, file));
        }) == 0);
  CHECK(status_of_child(neighbours_on_a_page) == 0);
  CHECK(status_of_child(forked) == 0);
  CHECK(status_of_child(behind_our_back) == 0);
  CHECK(status_of_child(killed_sampler) == 0);
}

}  // namespace watcher::test
