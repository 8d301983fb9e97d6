// Events rendered by several threads: the same lines, in the same order, as by one.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <filesystem>
#include <random>

#include "tests/unit/collect_fixture.h"

namespace watcher::test {
namespace {

constexpr std::uint32_t kSlots = 1 << 16;
constexpr std::uint64_t kEvents = 12'000;

/// Stores of all kinds, of 300 variables of which some are secret, one has a condition and one a limit; memory written
/// by code of this program; claims that came to nothing, and events that make no sense.
class Mixture {
 public:
  Mixture(Writer* writer, bool with_limit) : writer_(*writer) {
    for (std::uint64_t id = 0; id < 300; ++id) variables_.push_back(variable(id, with_limit));
    const std::string program = std::filesystem::read_symlink("/proc/self/exe");
    module_ = names().intern(BlobKind::kModule, ModuleBlob{.bias = 0, .path = names().intern(program), .build_id = 0});
  }

  void store(std::uint64_t number) {
    const std::uint32_t kind = random_() % 16;
    if (kind == 9) return store_memory(number);
    if (kind >= 10 && kind < 14) return store_bytes(number, kind);
    const Claim claim = begin(number, kind == 15 ? Op::kCount : Op::kStore, kind == 14 ? 8 : 0);
    claim.head->before_kind = claim.head->after_kind = kind < 8 ? ValueKind::kInt : ValueKind::kFloat;
    claim.head->before = random_();
    claim.head->after = random_() % 1000;
    if (kind == 14) claim.head->before_kind = ValueKind::kText;  // announced and not there
    claim.commit();
  }

 private:
  Dictionary& names() { return writer_.ring.dictionary(); }

  DictionaryRef variable(std::uint64_t id, bool with_limit) {
    const FilterBlob filter{.when = id == 7 ? names().intern("new > 500") : 0,
                            .max_per_second = with_limit && id == 9 ? 5u : 0u,
                            .sample = 1};
    const bool is_filtered = id == 7 || id == 9;
    const std::string name = (id % 50 == 3 ? "token" : "name") + std::to_string(id);
    return names().intern(BlobKind::kVariable,
                          VariableBlob{.id = id,
                                       .name = names().intern(name),
                                       .format = names().intern("q"),
                                       .item_size = 8,
                                       .mutation_depth = 0,
                                       .filter = is_filtered ? names().intern(BlobKind::kFilter, filter) : 0,
                                       .flags = 0});
  }

  Claim begin(std::uint64_t number, Op op, std::uint32_t payload_bytes) {
    const Claim claim = writer_.begin(op, payload_bytes);
    claim.head->variable = variables_[random_() % variables_.size()];
    claim.head->tsc = 1'000'000'000'000'000'000 + number * 10'000;
    return claim;
  }

  void store_bytes(std::uint64_t number, std::uint32_t kind) {
    const auto length = static_cast<std::uint32_t>(random_() % 300);
    const Claim claim = begin(number, Op::kStore, sizeof(ValueBlob) + padded8(length));
    claim.head->after_kind = kind == 10 ? ValueKind::kObject : kind == 11 ? ValueKind::kBigInt : ValueKind::kText;
    const ValueBlob blob{length, 0, length + random_() % 2};
    std::string bytes(length, '\0');
    for (char& character : bytes) character = static_cast<char>(random_());
    memcpy(claim.payload(), &blob, sizeof blob);
    memcpy(claim.payload() + sizeof blob, bytes.data(), length);
    claim.commit();
  }

  void store_memory(std::uint64_t number) {
    const Claim claim = begin(number, Op::kWrite, sizeof(MemoryBlob) + 16);
    claim.head->before_kind = claim.head->after_kind = ValueKind::kMemory;
    claim.head->before = 8 * (random_() % 100);
    claim.head->after = 0x10000 + random_() % 0x40000;
    const MemoryBlob blob{.length = 8, .system_call = 0, .module = module_, .frames = 0};
    const std::uint64_t values[2] = {random_(), random_()};
    memcpy(claim.payload(), &blob, sizeof blob);
    memcpy(claim.payload() + sizeof blob, values, sizeof values);
    claim.commit();
  }

  Writer& writer_;
  std::mt19937 random_{5};
  std::vector<DictionaryRef> variables_;
  DictionaryRef module_ = 0;
};

/// What a killed program has left, in a copy of its own: lines and counts.
struct Outcome {
  std::string text;
  std::uint64_t recovered, dropped;
};
Outcome recover_copy(const std::string& ring, const char* workers) {
  const TempDirectory copy;
  std::filesystem::copy(ring, copy.file("ring.7"));
  auto collector = open_collector(copy.path(), kRunId, {{"enrich_workers", workers}, {"silent_stores", "skip"}});
  collector->recover();
  while (collector->busy()) collector->step();
  REQUIRE(collector->finish());
  const auto summary = summary_of(copy);
  return {read_text(copy.file("events.jsonl")), summary["written"].GetUint64(), summary["dropped"].GetUint64()};
}

std::string only_ring(const TempDirectory& directory) {
  return directory.file(("ring." + std::to_string(getpid())).c_str());
}

}  // namespace

TEST_CASE("one thread or three: the same bytes, with conditions, limits, secrets and senseless events") {
  for (const bool with_limit : {false, true}) {
    const TempDirectory directory;
    {
      Writer writer(directory.path(), kSlots);
      REQUIRE(writer.error == 0);
      writer.ring.header()->clock = Clock::kRealtime;
      Mixture mixture(&writer, with_limit);
      for (std::uint64_t number = 0; number < kEvents; ++number) mixture.store(number);
    }
    const Outcome one = recover_copy(only_ring(directory), "1");
    CHECK(one.recovered > kEvents / 2);
    CHECK(one.dropped > kEvents / 32);
    for (const char* workers : {"2", "3"}) {
      const Outcome several = recover_copy(only_ring(directory), workers);
      CHECK(several.text == one.text);
      CHECK(several.recovered == one.recovered);
      CHECK(several.dropped == one.dropped);
    }
  }
}

TEST_CASE("losses are told once, in the first line behind them") {
  const TempDirectory directory;
  auto collector = open_collector(directory.path(), kRunId, {{"enrich_workers", "3"}});
  Writer writer(directory.path(), kSlots);
  const auto store = [&](std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) writer.store(i, i + 1);
  };
  store(20'000);
  writer.ring.header()->dropped += 3;  // found before anything is taken: behind what is in the ring
  while (collector->step() != 0) {
  }
  store(20'000);
  while (collector->step() != 0) {
  }
  const std::vector<std::string> lines = read_lines(directory.file("events.jsonl"));
  REQUIRE(lines.size() == 40'000);
  for (std::size_t i = 0; i < lines.size(); ++i)
    if ((lines[i].find("\"dropped_before\":3}") != std::string::npos) != (i == 20'000))
      FAIL("line ", i, ": ", lines[i]);
}

TEST_CASE("many writers at once and drop-oldest: what is written and what is lost is all there was") {
  for (const OnFull on_full : {OnFull::kBlock, OnFull::kDropOldest}) {
    const TempDirectory directory;
    auto collector = open_collector(directory.path(), kRunId, {{"enrich_workers", "3"}});
    Writer writer(directory.path(), 8192, on_full, static_cast<std::uint32_t>(getpid()));
    constexpr std::int64_t kEach = 30'000;
    std::vector<pid_t> children;  // no threads: ThreadSanitizer does not see that both mappings are the same memory
    for (std::int64_t id = 0; id < 3; ++id) {
      children.push_back(fork());
      for (std::int64_t i = 0; children.back() == 0 && i < kEach; ++i) writer.store(id, i);
      if (children.back() == 0) _exit(0);
    }
    std::uint64_t written = 0;
    const auto all = [&] { return written + writer.ring.header()->dropped == 3 * kEach; };
    for (int idle = 0; idle < 2000 && !all(); ++idle)
      if (const std::uint64_t now = collector->step(); now != 0) idle = 0, written += now;
    for (const pid_t child : children) waitpid(child, nullptr, 0);
    written += collector->step();
    CHECK(all());
    std::int64_t next[3] = {};
    std::size_t wrong = 0;
    for (const std::string& line : read_lines(directory.file("events.jsonl"))) {
      const auto event = parse(line);
      const auto writer_id = event["before"]["value"].GetUint64();
      const std::int64_t value = event["after"]["value"].GetInt64();
      wrong += on_full == OnFull::kBlock ? value != next[writer_id] : value < next[writer_id];
      next[writer_id] = value + 1;
    }
    CHECK(wrong == 0);
  }
}

}  // namespace watcher::test
