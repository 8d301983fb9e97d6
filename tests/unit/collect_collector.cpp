#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <random>
#include <set>

#include "tests/unit/collect_fixture.h"

namespace watcher::test {
namespace {

std::vector<std::int64_t> after_values(const TempDirectory& directory) {
  std::vector<std::int64_t> values;
  for (const std::string& line : read_lines(directory.file("events.jsonl")))
    values.push_back(parse(line)["after"]["value"].GetInt64());
  return values;
}

/// A child that stores 0, 1, 2, … and announces each on a pipe once it is committed.
pid_t start_announcing(const std::string& directory, int pipe_end) {
  const pid_t child = fork();
  if (child != 0) return child;
  Writer writer(directory);
  for (std::int64_t i = 0;; ++i) {
    writer.store(i - 1, i);
    if (write(pipe_end, &i, sizeof i) != sizeof i) _exit(1);
  }
}

std::int64_t last_announced(int pipe_end) {
  std::int64_t last = -1;
  for (std::int64_t value; read(pipe_end, &value, sizeof value) == sizeof value;) last = value;
  return last;
}

void expect_counting(const std::vector<std::int64_t>& values) {
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); ++i) wrong += values[i] != static_cast<std::int64_t>(i);
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("a closing writer is told when its events and the summary are on disk") {
  const TempDirectory directory;
  auto collector = open_collector(directory.path());
  Writer writer(directory.path());
  for (int i = 0; i < 10; ++i) writer.store(i, i + 1);
  CHECK(collector->step() == 10);
  CHECK(collector->busy());
  writer.store(10, 11);
  writer.ring.header()->state = RingState::kClosing;
  CHECK(collector->step() == 1);
  CHECK(writer.ring.header()->state == RingState::kClosed);
  {
    const auto summary = summary_of(directory);
    CHECK(summary["written"].GetUint64() == 11);
    CHECK(summary["variables"]["0000000000000007"]["name"].GetString() == std::string("counter"));
    CHECK(summary["variables"]["0000000000000007"]["events"].GetUint64() == 11);
    CHECK(summary["processes"].Size() == 1);
    CHECK(summary["processes"][0]["pid"].GetInt() == getpid());
    CHECK(summary["exit_code"].IsNull());
  }
  writer.store(11, 12);  // a thread that outlives the main one
  writer.leave();
  while (collector->busy()) collector->step();
  CHECK(directory.count("ring.") == 0);
  collector->set_outcome(402, 0);
  CHECK(collector->finish());
  const auto summary = summary_of(directory);
  CHECK(summary["written"].GetUint64() == 12);
  CHECK(summary["exit_code"].GetInt() == 402);
  CHECK(summary["process_count"].GetUint64() == 1);
  CHECK(after_values(directory).size() == 12);
}

TEST_CASE("files of the output directory are private") {
  const TempDirectory directory;
  const std::string nested = directory.file("a/b");
  auto collector = open_collector(nested);
  CHECK(collector->finish());
  struct stat status {};
  REQUIRE(stat(nested.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0700);
  for (const char* name : {"/events.jsonl", "/summary.json"}) {
    REQUIRE(stat((nested + name).c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
  }
}

TEST_CASE("a link, a FIFO or a directory in the place of events.jsonl is refused") {
  Options options;
  for (const char* kind : {"ln -s /tmp/elsewhere", "mkfifo", "mkdir"}) {
    const TempDirectory directory;
    REQUIRE(system((std::string(kind) + " " + directory.file("events.jsonl")).c_str()) == 0);
    REQUIRE(options.set("output", directory.path(), "test"));
    CHECK_FALSE(Collector::open(options, kRunId));
  }
}

TEST_CASE("initial states are written only when asked for, silent stores left out when asked for") {
  for (const bool record : {false, true}) {
    const TempDirectory directory;
    auto collector =
        open_collector(directory.path(), kRunId,
                       {{"record_init", record ? "true" : "false"}, {"silent_stores", record ? "record" : "skip"}});
    Writer writer(directory.path());
    writer.begin(Op::kInit).commit();
    writer.store(1, 1);
    writer.store(1, 2);
    writer.begin(Op::kClear).commit();
    CHECK(collector->step() == (record ? 4 : 2));
    CHECK(collector->finish());
    CHECK(summary_of(directory)["dropped"].GetUint64() == 0);
  }
}

TEST_CASE("killed at random moments, 200 times: every announced event is there, in order, no broken line") {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    const TempDirectory directory;
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
    auto collector = open_collector(directory.path(), kRunId, {{"fsync", "never"}});
    const pid_t child = start_announcing(directory.path(), ends[1]);
    close(ends[1]);
    const auto deadline = EventRing::realtime_ns() + random() % 8'000'000;
    const bool collected_live = round % 2 == 0;
    while (EventRing::realtime_ns() < deadline) collected_live ? void(collector->step()) : void(usleep(200));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    collector->recover();
    while (collector->busy()) collector->step();
    const std::int64_t announced = last_announced(ends[0]);
    close(ends[0]);
    const std::vector<std::int64_t> values = after_values(directory);
    REQUIRE(static_cast<std::int64_t>(values.size()) > announced);
    expect_counting(values);
    CHECK(directory.count("ring.") == 0);
  }
}

TEST_CASE("a ring left by an earlier run is recovered by the next, and counted apart") {
  const TempDirectory directory;
  {
    Writer writer(directory.path());
    for (int i = 0; i < 5; ++i) writer.store(i - 1, i);
  }
  auto collector = open_collector(directory.path(), kRunId + 1);
  CHECK(collector->step() == 0);
  collector->recover();
  CHECK(collector->finish());
  CHECK(after_values(directory).size() == 5);
  CHECK(summary_of(directory)["recovered"].GetUint64() == 5);
  CHECK(summary_of(directory)["written"].GetUint64() == 0);
  CHECK(directory.count("ring.") == 0);
}

TEST_CASE("a living ring of another run is left alone, by recover too") {
  const TempDirectory directory;
  Writer writer(directory.path());
  writer.store(1, 2);
  auto collector = open_collector(directory.path(), kRunId + 1);
  collector->step();
  collector->recover();
  CHECK_FALSE(collector->busy());
  CHECK(directory.count("ring.") == 1);
}

TEST_CASE("two collectors on one directory: every event once, whole lines, one summary") {
  const TempDirectory directory;
  constexpr int kWriters = 6;
  constexpr std::int64_t kEvents = 20'000;
  std::vector<pid_t> children;
  for (int collector = 0; collector < 2; ++collector) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    Options options;
    if (!options.set("output", directory.path(), "test")) _exit(2);
    auto opened = Collector::open(options, kRunId);
    if (!opened) _exit(3);
    for (int idle = 0; idle < 400; opened.value()->busy() ? idle = 0 : ++idle)
      if (opened.value()->step() == 0) usleep(1000);
    _exit(opened.value()->finish() ? 0 : 4);
  }
  for (int id = 0; id < kWriters; ++id) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    Writer writer(directory.path(), 1024, OnFull::kBlock, static_cast<std::uint32_t>(children[0]));
    for (std::int64_t i = 0; i < kEvents; ++i)
      if (!writer.store(id, i)) _exit(5);
    _exit(0);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  std::vector<std::int64_t> next(kWriters);
  std::set<std::string> ids;
  std::size_t wrong = 0;
  for (const std::string& line : read_lines(directory.file("events.jsonl"))) {
    const auto event = parse(line);
    wrong += event["after"]["value"].GetInt64() != next[event["before"]["value"].GetUint64()]++;
    ids.insert(event["event_id"].GetString());
  }
  CHECK(wrong == 0);
  CHECK(ids.size() == kWriters * kEvents);
  CHECK(summary_of(directory)["written"].GetUint64() == kWriters * kEvents);
  CHECK(summary_of(directory)["processes"].Size() == kWriters);
}

TEST_CASE("a collector that dies hands its ring to the next one") {
  const TempDirectory directory;
  Writer writer(directory.path());
  auto first = open_collector(directory.path());
  auto second = open_collector(directory.path());
  writer.store(-1, 0);
  CHECK(first->step() == 1);
  CHECK(second->step() == 0);
  CHECK(writer.ring.header()->collector_pid == static_cast<std::uint32_t>(getpid()));
  first.reset();
  CHECK(writer.ring.header()->collector_pid == 0);
  writer.store(0, 1);
  usleep(600'000);  // beyond the interval at which an unchanged directory is looked at again
  CHECK(second->step() == 1);
  expect_counting(after_values(directory));
}

TEST_CASE("a file size limit: whole lines only, and written + dropped = all") {
  const TempDirectory directory;
  constexpr std::int64_t kEvents = 900;
  Writer writer(directory.path());
  auto collector = open_collector(directory.path());
  for (std::int64_t i = 0; i < kEvents; ++i) writer.store(i - 1, i);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{100'000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::uint64_t written = collector->step();
  setrlimit(RLIMIT_FSIZE, &before);
  CHECK(written > 100);
  CHECK(written < kEvents);
  expect_counting(after_values(directory));
  CHECK(after_values(directory).size() == written);
  writer.store(kEvents - 1, kEvents);
  CHECK(collector->step() == 1);
  const std::string last = read_lines(directory.file("events.jsonl")).back();
  CHECK(parse(last)["dropped_before"].GetUint64() == kEvents - written);
  CHECK(collector->finish());
  CHECK(summary_of(directory)["dropped"].GetUint64() == kEvents - written);
  CHECK(summary_of(directory)["written"].GetUint64() == written + 1);
}

TEST_CASE("a full disk: whole lines only, nothing blocks, the losses are counted, writing resumes with the room") {
  const TempDirectory directory;
  if (mount("none", directory.path().c_str(), "tmpfs", 0, "size=1500k") != 0) return;  // needs privilege
  {
    constexpr std::int64_t kEvents = 900;
    Writer writer(directory.path());
    REQUIRE(writer.error == 0);
    auto collector = open_collector(directory.path());
    std::ofstream filler(directory.file("filler"), std::ios::binary);
    for (const std::string block(4096, 'x'); filler.write(block.data(), 4096).flush().good();) {
    }
    filler.close();
    CHECK(truncate(directory.file("filler").c_str(), 4096) == 0);
    std::ofstream(directory.file("filler2"), std::ios::binary).write(std::string(800 * 1024, 'x').data(), 800 * 1024);
    std::uint64_t written = 0;
    const std::uint64_t start = EventRing::realtime_ns();
    for (std::int64_t i = 0; i < 4 * kEvents; ++i) {
      writer.store(i - 1, i);
      if (i % kEvents == kEvents - 1) written += collector->step();
    }
    CHECK(EventRing::realtime_ns() - start < 1'000'000'000);
    CHECK(written < 4 * kEvents);
    CHECK(read_text(directory.file("events.jsonl")).ends_with("}\n"));
    expect_counting(after_values(directory));
    CHECK(after_values(directory).size() == written);
    CHECK(unlink(directory.file("filler2").c_str()) == 0);
    CHECK(unlink(directory.file("filler").c_str()) == 0);
    writer.store(0, 1);
    CHECK(collector->step() == 1);
    CHECK(collector->finish());
    CHECK(summary_of(directory)["dropped"].GetUint64() + written == 4 * kEvents);
    writer.leave();
  }
  umount2(directory.path().c_str(), MNT_DETACH);
}

TEST_CASE("a torn last line, left by a collector that was killed, is cut off before more is written") {
  const TempDirectory directory;
  std::ofstream(directory.file("events.jsonl"), std::ios::binary)
      << "{\"after\":{\"value\":0}}\n{\"after\":{\"val" + std::string(100'000, '1');
  chmod(directory.file("events.jsonl").c_str(), 0600);
  auto collector = open_collector(directory.path());
  Writer writer(directory.path());
  writer.store(0, 1);
  CHECK(collector->step() == 1);
  CHECK(after_values(directory) == std::vector<std::int64_t>{0, 1});
}

TEST_CASE("a deleted output file comes back; a deleted ring does not stop the collector") {
  const TempDirectory directory;
  auto collector = open_collector(directory.path());
  Writer writer(directory.path());
  writer.store(-1, 0);
  CHECK(collector->step() == 1);
  for (const std::string& name : directory.names()) unlink(directory.file(name.c_str()).c_str());
  writer.store(0, 1);
  CHECK(collector->step() == 1);
  CHECK(after_values(directory) == std::vector<std::int64_t>{1});
  writer.leave();
  collector->step();
  CHECK_FALSE(collector->busy());
}

TEST_CASE("a summary of another run is replaced; a broken or hostile one does no harm") {
  for (const std::string& old :
       {std::string("{\"run_id\":\"ffff\",\"written\":5}"), std::string("not json"), std::string(1'000'000, '['),
        std::string("{\"run_id\":\"0000000000000abc\",\"written\":-1,"
                    "\"variables\":[],\"processes\":[1,{\"pid\":\"x\"}]}")}) {
    const TempDirectory directory;
    std::ofstream(directory.file("summary.json"), std::ios::binary) << old;
    auto collector = open_collector(directory.path());
    CHECK(collector->finish());
    CHECK(summary_of(directory)["written"].GetUint64() == 0);
  }
}

}  // namespace watcher::test
