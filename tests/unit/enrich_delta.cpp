#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "runtime/enrich/clock.h"
#include "runtime/enrich/delta.h"
#include "runtime/enrich/item_format.h"
#include "runtime/queue/event_ring.h"

namespace watcher::test {
namespace {

std::vector<DeltaRun> naive_runs(const std::string& before, const std::string& after) {
  std::vector<DeltaRun> runs;
  for (std::size_t i = 0; i < std::min(before.size(), after.size()); ++i) {
    if (before[i] == after[i]) continue;
    if (!runs.empty() && runs.back().offset + runs.back().length == i)
      ++runs.back().length;
    else
      runs.push_back({i, 1});
  }
  return runs;
}

ValueView bytes_value(const std::string& bytes) {
  ValueView value;
  value.kind = ValueKind::kBytes;
  value.bytes = bytes;
  value.total = bytes.size();
  return value;
}

ValueView inline_value(ValueKind kind, std::uint64_t word) {
  ValueView value;
  value.kind = kind;
  value.word = word;
  return value;
}

}  // namespace

TEST_CASE("runs are the same by narrow and by wide vectors, at any length and alignment") {
  std::mt19937 random(11);
  for (int round = 0; round < 20'000; ++round) {
    const std::size_t shift = random() % 64;
    std::string before(shift + random() % 1000, 'x');
    std::string after = before;
    for (std::size_t i = 0, changes = random() % 8; i < changes && !after.empty(); ++i) {
      const std::size_t first = random() % after.size();
      for (std::size_t at = first; at < std::min(after.size(), first + random() % 200); ++at) after[at] = 'y';
    }
    before.erase(0, std::min(shift, before.size()));
    after.erase(0, std::min(shift, after.size()));
    for (const bool wide : {false, has_wide_compare()}) {
      std::vector<DeltaRun> runs;
      const std::uint64_t changed = find_runs(before.data(), after.data(), before.size(), &runs, wide);
      REQUIRE(runs == naive_runs(before, after));
      REQUIRE(changed == static_cast<std::uint64_t>(std::count(after.begin(), after.end(), 'y')));
    }
  }
}

TEST_CASE("deltas equal those of a byte-by-byte comparison, on random inputs") {
  std::mt19937 random(7);
  for (int round = 0; round < 20'000; ++round) {
    std::string before(random() % 200, '\0');
    for (char& byte : before) byte = static_cast<char>(random() % 3);
    std::string after = before;
    after.resize(random() % 4 == 0 ? random() % 200 : after.size());
    for (std::size_t i = 0, changes = random() % 20; i < changes && !after.empty(); ++i)
      after[random() % after.size()] = static_cast<char>(random() % 3);
    Delta delta;
    compare(bytes_value(before), bytes_value(after), &delta);
    REQUIRE(delta.runs == naive_runs(before, after));
    std::uint64_t sum = 0;
    for (const DeltaRun& run : delta.runs) sum += run.length;
    REQUIRE(delta.changed_bytes == sum);
    REQUIRE(delta.size_changed() == (before.size() != after.size()));
  }
}

TEST_CASE("a value against none is one change of size") {
  Delta delta;
  compare(inline_value(ValueKind::kUnbound, 0), inline_value(ValueKind::kInt, 5), &delta);
  CHECK(delta.runs.empty());
  CHECK(delta.size_before == 0);
  CHECK(delta.size_after == 8);
  compare(inline_value(ValueKind::kInt, 5), inline_value(ValueKind::kInt, 6), &delta);
  CHECK(delta.runs == std::vector<DeltaRun>{{0, 1}});
  CHECK_FALSE(delta.size_changed());
  compare(inline_value(ValueKind::kNone, 0), inline_value(ValueKind::kUnbound, 0), &delta);
  CHECK(delta.empty());
}

TEST_CASE("merging keeps all changed bytes inside the ranges, and their order") {
  std::vector<DeltaRun> runs;
  for (std::uint64_t i = 0; i < 10'000; ++i) runs.push_back({i * 30 + i % 7, 2});
  merge_runs(&runs, 100);
  CHECK(runs.size() <= 100);
  CHECK(runs.front().offset == 0);
  CHECK(runs.back().offset + runs.back().length == 9999 * 30 + 9999 % 7 + 2);
  for (std::size_t i = 1; i < runs.size(); ++i) REQUIRE(runs[i].offset > runs[i - 1].offset + runs[i - 1].length);
}

TEST_CASE("items of a buffer are read by their PEP 3118 format") {
  const auto integer = [](const char* format, std::uint32_t size, std::string bytes) {
    const ItemFormat parsed = ItemFormat::parse(format, size);
    REQUIRE(parsed.kind != ItemKind::kRaw);
    return static_cast<std::int64_t>(parsed.integer(bytes.data()));
  };
  CHECK(integer("b", 1, "\xff") == -1);
  CHECK(integer("B", 1, "\xff") == 255);
  CHECK(integer("<h", 2, "\xfe\xff") == -2);
  CHECK(integer(">H", 2, std::string("\x01\x00", 2)) == 256);
  CHECK(integer("!i", 4, "\xff\xff\xff\xfe") == -2);
  CHECK(integer("l", 8, std::string("\x01\0\0\0\0\0\0\0", 8)) == 1);
  CHECK(integer("<l", 4, std::string("\x01\0\0\0", 4)) == 1);
  CHECK(integer("q", 8, std::string(8, '\xff')) == -1);
  CHECK(integer("?", 1, "\x02") == 1);
  CHECK(ItemFormat::parse("e", 2).real("\x00\x3c") == 1.0);
  CHECK(std::isinf(ItemFormat::parse("e", 2).real("\x00\xfc")));
  CHECK(ItemFormat::parse("e", 2).real("\x01\x00") == std::ldexp(1.0, -24));
  CHECK(ItemFormat::parse(">f", 4).real("\x3f\x80\x00\x00") == 1.0);
  const double number = -2.5;
  CHECK(ItemFormat::parse("d", 8).real(reinterpret_cast<const char*>(&number)) == -2.5);
  for (const char* raw : {"T{i:a:}", "2i", "s", "", "<"}) CHECK(ItemFormat::parse(raw, 8).kind == ItemKind::kRaw);
  CHECK(ItemFormat::parse("l", 4).kind == ItemKind::kRaw);  // the format contradicts the size
}

TEST_CASE("time stamps become wall-clock time, and do not run backwards") {
  EventClock clock;
  const ClockPair start = ClockPair::read(CLOCK_REALTIME);
  std::uint64_t last = 0;
  std::int64_t worst = 0;
  int wrong = 0;
  for (int i = 0; i < 200'000; ++i) {
    if (i % 1000 == 0) clock.refresh();
    const std::uint64_t wall = EventRing::realtime_ns();
    const std::uint64_t mine = clock.realtime_ns(__builtin_ia32_rdtsc(), start);
    const std::uint64_t wall_after = EventRing::realtime_ns();
    if (last > mine) worst = std::max(worst, static_cast<std::int64_t>(last - mine));
    wrong += mine + 100'000 < wall || mine > wall_after + 100'000;
    last = mine;
  }
  CHECK(worst < 100'000);
  CHECK(wrong == 0);
}

TEST_CASE("a ring of an earlier boot is dated by its own pair of clocks") {
  const EventClock clock;
  const ClockPair start{~std::uint64_t{0} / 2, 1'000'000'000'000'000'000};
  CHECK(clock.realtime_ns(start.tsc, start) == start.ns);
}

}  // namespace watcher::test
