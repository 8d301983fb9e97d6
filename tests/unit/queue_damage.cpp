#include <doctest/doctest.h>
#include <fcntl.h>

#include <random>

#include "runtime/enrich/decode.h"
#include "runtime/output/json/event_json.h"
#include "runtime/queue/ring_reader.h"
#include "tests/unit/queue_fixture.h"

namespace watcher::test {
namespace {

/// Everything a collector does with a ring of a dead writer.
void read_all(const std::string& path) {
  Result<RingReader> reader = RingReader::open(UniqueFd(open(path.c_str(), O_RDWR | O_CLOEXEC)));
  if (!reader) return;
  EventJson json(reader.value().identity(), DeltaStyle{});
  JsonBuffer lines;
  EventView view;
  Delta delta;
  RingEvent event;
  while (reader.value().take(true, &event) == RingReader::Taken::kEvent) {
    if (!decode(event, reader.value().dictionary(), &view)) continue;
    compare(view.before, view.after, &delta);
    json.append(view, &delta, 0, &lines);
    lines.clear();
  }
  reader.value().release();
}

void fill(Writer& writer) {
  for (int i = 0; i < 20; ++i) {
    writer.store(i, i + 1);
    writer.store_bytes(ValueKind::kText, std::string(static_cast<std::size_t>(i) * 10, 'x'));
    writer.store_bytes(ValueKind::kBigInt, std::string(static_cast<std::size_t>(i) + 1, '\x80'));
    const Claim claim = writer.begin(Op::kWrite, sizeof(MemoryBlob) + 32);
    claim.head->before_kind = claim.head->after_kind = ValueKind::kMemory;
    const MemoryBlob blob{16, 0, 0, 0};
    memcpy(claim.payload(), &blob, sizeof blob);
    memset(claim.payload() + sizeof blob, i, 32);
    claim.commit();
  }
}

}  // namespace

TEST_CASE("random damage of a ring file never crashes its reader") {
  const TempDirectory directory;
  std::string image;
  {
    Writer writer(directory.path(), 512);
    fill(writer);
    image = read_text(directory.file(("ring." + std::to_string(getpid())).c_str()));
  }
  const std::uint64_t slots_at = RingLayout{512, 64 * 1024}.slots_offset();
  const std::uint64_t heap_at = RingLayout::heap_offset();
  std::mt19937_64 random(1);
  const std::string path = directory.file("damaged");
  for (int round = 0; round < 3000; ++round) {
    std::string copy = image;
    const auto damage = [&](std::uint64_t from, std::uint64_t length) {
      copy[from + random() % length] = static_cast<char>(random());
    };
    for (int i = 0; i < 8; ++i) damage(slots_at, 100 * kSlotBytes);
    if (round % 2 == 0) damage(heap_at, 512);
    if (round % 3 == 0) damage(0, sizeof(RingHeader));
    if (round % 50 == 0) copy.resize(random() % copy.size());
    std::ofstream(path, std::ios::binary) << copy;
    read_all(path);
  }
  CHECK(true);
}

TEST_CASE("what is no ring file is an error that says so") {
  const TempDirectory directory;
  const auto message = [&](const std::string& content) {
    std::ofstream(directory.file("x"), std::ios::binary) << content;
    const auto reader = RingReader::open(UniqueFd(open(directory.file("x").c_str(), O_RDWR | O_CLOEXEC)));
    return reader ? std::string() : reader.error().message;
  };
  CHECK(message("") == "ring file: shorter than its header");
  CHECK(message(std::string(4096, '\0')) == "ring file: no ring file");
  RingHeader header{};
  header.magic = kRingMagic;
  header.version = kRingVersion + 1;
  const std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  CHECK(message(bytes) == "ring file: made by another version of Watcher");
  header.version = kRingVersion;
  header.slot_count = 1u << 31;
  CHECK(message({reinterpret_cast<const char*>(&header), sizeof header}) == "ring file: its header contradicts itself");
}

TEST_CASE("a ring file cut short behind the reader's back is noticed") {
  const TempDirectory directory;
  Writer writer(directory.path());
  const std::string path = directory.file(("ring." + std::to_string(getpid())).c_str());
  const auto reader = RingReader::open(UniqueFd(open(path.c_str(), O_RDWR | O_CLOEXEC)));
  REQUIRE(reader);
  CHECK(reader.value().intact());
  CHECK(truncate(path.c_str(), 100) == 0);
  CHECK_FALSE(reader.value().intact());
}

TEST_CASE("the one line number that has no opposite is told as the highest, and as not exact") {
  const TempDirectory directory;
  Writer writer(directory.path());
  writer.place = writer.ring.dictionary().intern(
      BlobKind::kPlace,
      PlaceBlob{.function = 0, .file = writer.ring.dictionary().intern("/app.py"), .line = INT32_MIN});
  writer.store(1, 2);
  auto reader = RingReader::open(
      UniqueFd(open(directory.file(("ring." + std::to_string(getpid())).c_str()).c_str(), O_RDWR | O_CLOEXEC)));
  REQUIRE(reader);
  RingEvent event;
  REQUIRE(reader.value().take(false, &event) == RingReader::Taken::kEvent);
  EventView view;
  REQUIRE(decode(event, reader.value().dictionary(), &view));
  CHECK(view.line == INT32_MAX);
  CHECK_FALSE(view.exact_line);
}

}  // namespace watcher::test
