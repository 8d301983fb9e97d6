// Which of a page's variables a store hits, compared with looking at all of them.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

constexpr std::size_t kBytes = 2 * kPageBytes;

struct Placed {
  RegionId id;
  std::size_t begin, end;
  DictionaryRef name;
};

class Variables {
 public:
  Variables() {
    EXPECT(memory_start(ring_.get(), "inline", nullptr) == 0);
    memory_ = static_cast<unsigned char*>(memory_allocate(kBytes));
  }

  /// Mostly small, some across the pages; overlapping, and several with the same beginning.
  void add() {
    const std::size_t length = random_() % 8 == 0 ? 1 + random_() % 300 : 1 + random_() % 16;
    const std::size_t begin = random_() % (kBytes - length);
    MemoryVariable variable = variable_of(memory_ + begin, length);
    variable.variable = ++names_;
    placed_.push_back({memory_watch(variable), begin, begin + length, names_});
    EXPECT(placed_.back().id != 0);
  }
  void remove() {
    const std::size_t which = random_() % placed_.size();
    memory_unwatch(placed_[which].id, Op::kCount);
    placed_.erase(placed_.begin() + static_cast<std::ptrdiff_t>(which));
  }
  std::size_t count() const { return placed_.size(); }

  void store_somewhere() {
    const std::size_t at = random_() % (kBytes - 8);
    const std::uint64_t value = random_();
    __asm__ volatile("mov %0, (%1)" : : "r"(value), "r"(memory_ + at) : "memory");
    std::vector<DictionaryRef> expected, found;
    for (const Placed& variable : placed_)
      if (variable.begin < at + 8 && variable.end > at) expected.push_back(variable.name);
    for (const MemoryEvent& event : ring_.drain()) found.push_back(event.variable);
    std::sort(expected.begin(), expected.end());
    std::sort(found.begin(), found.end());
    EXPECT(found == expected);
  }

 private:
  CaptureRing ring_{1u << 12};
  unsigned char* memory_ = nullptr;
  std::mt19937_64 random_{7};
  std::vector<Placed> placed_;
  DictionaryRef names_ = 0;
};

void as_if_all_were_looked_at() {
  Variables variables;
  for (int round = 0; round < 3; ++round) {
    while (variables.count() < 500) {
      variables.add();
      variables.store_somewhere();
    }
    while (variables.count() > 0) {
      variables.remove();
      variables.store_somewhere();
    }
  }
}

}  // namespace

TEST_CASE("of hundreds of variables on a page a store hits those that it overlaps") {
  CHECK(status_of_child(as_if_all_were_looked_at) == 0);
}

}  // namespace watcher::test
