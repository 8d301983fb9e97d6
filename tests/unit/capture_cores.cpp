// What of the arena a core holds.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

constexpr std::size_t kAllocated = std::size_t{3} << 20;
constexpr std::size_t kMost = std::size_t{64} << 20;  // the arena reserves 64 GiB, twice

/// Bytes of the arena's mappings that a core would hold, by the kernel's own list.
std::size_t dumped_bytes() {
  std::ifstream maps("/proc/self/smaps");
  std::size_t sum = 0, bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    if (line.rfind("VmFlags:", 0) == 0)
      sum += line.find(" dd") == std::string::npos ? bytes : 0;
    else if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2)
      bytes = line.find("/memfd:watcher") == std::string::npos ? 0 : end - begin;
  }
  return sum;
}

void what_is_allocated_alone() {
  CaptureRing ring;
  EXPECT(memory_start(ring.get(), "inline", nullptr) == 0);
  EXPECT(memory_allocate(kAllocated) != nullptr);
  EXPECT(dumped_bytes() >= kAllocated && dumped_bytes() < kMost);
  memory_before_fork();
  const pid_t child = fork();
  if (child == 0) {
    memory_after_fork_child();
    EXPECT(dumped_bytes() >= kAllocated && dumped_bytes() < kMost);
    _exit(0);
  }
  memory_after_fork_parent();
  int status = -1;
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

}  // namespace

TEST_CASE("a core holds what is allocated, not what is reserved") {
  CHECK(status_of_child(what_is_allocated_alone) == 0);
}

}  // namespace watcher::test
