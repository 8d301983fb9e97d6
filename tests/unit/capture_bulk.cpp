// The difference of many stores as one event: found in random changes, bounded, and in whole items.
#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include "runtime/capture/bulk/bulk_compare.h"
#include "runtime/capture/bulk/bulk_event.h"
#include "runtime/capture/memory_state.h"
#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

using Bytes = std::vector<unsigned char>;

constexpr BulkOrigin kOrigin{.op = Op::kResumed,
                             .ip = 0,
                             .system_call = 0,
                             .thread_id = 1,
                             .place = 0,
                             .context = 0,
                             .coalesced = 3,
                             .exact = true};

struct Compared {
  MemoryEvent event;
  Bytes before;  // as it was, and as add() left it
  Bytes left;
  Bytes now;
};

/// Compares in pieces of that many bytes.
Compared compare(CaptureRing& ring, Bytes before, Bytes now, std::uint32_t item, std::size_t piece, bool update,
                 std::uint32_t depth = 0) {
  memory_state.ring = ring.get();
  Region region;
  region.variable = variable_of(now.data(), now.size(), item);
  region.variable.mutation_depth = depth;
  Compared result{{}, before, before, now};
  BulkDifference difference;
  for (std::size_t at = 0; at < now.size(); at += piece)
    difference.add(region, region.begin() + at, reinterpret_cast<std::byte*>(result.left.data() + at),
                   std::min(piece, now.size() - at), update);
  CHECK(difference.empty() == (before == now));
  difference.publish(region, kOrigin);
  result.event = ring.drain().at(0);
  return result;
}

std::uint64_t differing(const Compared& compared) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < compared.now.size(); ++i) count += compared.before[i] != compared.now[i];
  return count;
}

/// Every changed byte lies in a range, ranges ascend and hold whole items, and what is kept is right.
void judge(const Compared& compared, std::uint32_t item, bool complete) {
  const MemoryEvent& event = compared.event;
  CHECK(event.changed_bytes == differing(compared));
  CHECK(event.coalesced == 3);
  Bytes content = compared.before;
  CHECK(chains({event}, &content));
  if (complete) CHECK(content == compared.now);
  std::size_t at = 0;
  std::size_t kept = 0;
  for (const BulkRange& range : event.ranges) {
    CHECK(range.offset >= at);
    CHECK(memcmp(compared.before.data() + at, compared.now.data() + at, range.offset - at) == 0);
    CHECK(memcmp(compared.now.data() + range.offset, event.after.data() + kept, range.kept) == 0);
    at = range.offset + range.length;
    kept += range.kept;
    CHECK(range.offset % item == 0);
    CHECK((at % item == 0 || at == compared.now.size()));
  }
  CHECK(memcmp(compared.before.data() + at, compared.now.data() + at, compared.now.size() - at) == 0);
}

}  // namespace

TEST_CASE("random differences are told to the byte, in whole items") {
  CaptureRing ring;
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    const std::size_t bytes = 1 + random() % 5000;
    const std::uint32_t item = std::vector<std::uint32_t>{1, 2, 4, 8, 24}[random() % 5];
    Bytes before(bytes);
    for (unsigned char& byte : before) byte = static_cast<unsigned char>(random() % 3);
    Bytes now = before;
    for (std::size_t changes = random() % 60; changes > 0; --changes) {
      const std::size_t at = random() % bytes;
      for (std::size_t i = at; i < std::min<std::size_t>(bytes, at + random() % 200); ++i)
        now[i] = static_cast<unsigned char>(random() % 3);
    }
    const bool update = round % 2 == 0;
    const std::size_t piece = round % 3 == 0 ? bytes : item * (1 + random() % 100);
    const Compared compared = compare(ring, before, now, item, piece, update);
    judge(compared, item, true);
    CHECK((compared.left == compared.now || !update));
    CHECK((compared.left == compared.before || update));
  }
}

TEST_CASE("too many ranges become fewer, nearest first, and lose no byte that was kept") {
  CaptureRing ring;
  Bytes before(1u << 20);
  Bytes now = before;
  for (std::size_t at = 0; at < now.size(); at += 512) now[at] = 1;
  const Compared compared = compare(ring, before, now, 8, 1u << 16, false);
  judge(compared, 8, false);
  CHECK(compared.event.ranges.size() <= kMaxBulkRanges);
  CHECK(compared.event.before.size() == kMaxBulkBytes);
}

TEST_CASE("what is kept is bounded by the depth, by an event's size, and by a small ring") {
  CaptureRing ring;
  const Bytes before(1u << 20);
  const Bytes now(1u << 20, 7);
  judge(compare(ring, before, now, 8, before.size(), true), 8, false);
  const Compared shallow = compare(ring, before, now, 8, before.size(), true, 100);
  judge(shallow, 8, false);
  CHECK(shallow.event.ranges.size() == 1);
  CHECK(shallow.event.ranges[0].kept == 100);
  CaptureRing small(64);
  const Compared least = compare(small, before, now, 1, before.size(), false);
  judge(least, 1, false);
  CHECK(least.event.ranges[0].length == before.size());
  CHECK(compare(ring, before, before, 8, 4096, true).event.ranges.empty());
}

TEST_CASE("what is not part of the variable just now is not told") {
  CaptureRing ring;
  memory_state.ring = ring.get();
  Bytes before(4096);
  Bytes now(4096, 1);
  std::int64_t size = 100;
  void* start = now.data() + 16;
  Region region;
  region.variable = variable_of(now.data(), now.size());
  region.variable.live_size = &size;
  region.variable.live_start = &start;
  BulkDifference difference;
  difference.add(region, region.begin(), reinterpret_cast<std::byte*>(before.data()), before.size(), true);
  difference.publish(region, kOrigin);
  const auto event = ring.drain().at(0);
  CHECK(event.ranges.size() == 1);
  CHECK(event.ranges[0].offset == 0);
  CHECK(event.ranges[0].length == 100);
  CHECK(before == now);
}

TEST_CASE("blocks are compared alike with registers of every width") {
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    constexpr std::size_t kBlocks = 9, kAt = 3;  // not aligned
    Bytes left(kBlocks * kCompareBlockBytes + kAt), right;
    for (unsigned char& byte : left) byte = static_cast<unsigned char>(random());
    right = left;
    const std::size_t first = random() % (kBlocks + 1);  // from here on they differ in each word
    const std::size_t last = first + random() % (kBlocks + 1 - first);
    std::uint64_t changed = 0;
    for (std::size_t at = kAt + first * kCompareBlockBytes; at < kAt + last * kCompareBlockBytes; at += 8)
      for (unsigned bits = random() % 255 + 1, i = 0; i < 8; ++i)
        if ((bits >> i & 1) != 0) changed += ((right[at + i] ^= static_cast<unsigned char>(1 + random() % 255)), 1);
    if (random() % 2 == 0 && last < kBlocks)
      right[kAt + last * kCompareBlockBytes + random() % 64] ^= 1;  // in one only
    const auto bytes = [](const Bytes& of) { return reinterpret_cast<const std::byte*>(of.data()) + kAt; };
    for (const unsigned width : {16u, 32u, 64u}) {
      const Comparison compares = comparison(width);
      const std::size_t equal = compares.equal(bytes(left), bytes(right), kBlocks);
      std::size_t expected = 0;
      while (expected < kBlocks && memcmp(bytes(left) + expected * 64, bytes(right) + expected * 64, 64) == 0)
        ++expected;
      REQUIRE(equal == expected);
      std::uint64_t found = 0;
      const std::size_t differing =
          compares.differing(bytes(left) + first * 64, bytes(right) + first * 64, kBlocks - first, &found);
      REQUIRE(differing == last - first);
      REQUIRE(found == changed);
    }
  }
}

}  // namespace watcher::test
