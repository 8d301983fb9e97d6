#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <set>
#include <thread>

#include "runtime/queue/ring_lock.h"
#include "runtime/queue/ring_reader.h"
#include "tests/unit/queue_fixture.h"

namespace watcher::test {
namespace {

RingReader open_reader(const std::string& path) {
  auto reader = RingReader::open(UniqueFd(open(path.c_str(), O_RDWR | O_CLOEXEC)));
  REQUIRE(reader);
  return std::move(reader.value());
}

std::string ring_of(const TempDirectory& directory, pid_t pid) {
  return directory.file(("ring." + std::to_string(pid)).c_str());
}

std::string own_ring(const TempDirectory& directory) {
  return ring_of(directory, getpid());
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

}  // namespace

TEST_CASE("a ring is a private file under the process's pid, and leaves no descriptor open") {
  const TempDirectory directory;
  const std::size_t descriptors = open_descriptors();
  const Writer writer(directory.path());
  REQUIRE(writer.error == 0);
  CHECK(open_descriptors() == descriptors);
  struct stat status {};
  REQUIRE(stat(own_ring(directory).c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
  CHECK(static_cast<std::uint64_t>(status.st_size) == writer.ring.header()->file_bytes);
  CHECK(status.st_blocks * 512 >= status.st_size);
  CHECK(directory.names().size() == 1);
}

TEST_CASE("a directory that cannot hold the ring is an error with its errno") {
  CHECK(Writer("/nonexistent/directory").error == ENOENT);
  CHECK(Writer("relative").error == EINVAL);
}

TEST_CASE("a file size limit is kept without a signal") {
  const TempDirectory directory;
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const int error = Writer(directory.path()).error;
  setrlimit(RLIMIT_FSIZE, &before);
  CHECK(error == EFBIG);
  CHECK(directory.names().empty());
}

TEST_CASE("a ring for which there is no room is made smaller") {
  const TempDirectory directory;
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{1 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  Writer writer(directory.path(), 65536);
  setrlimit(RLIMIT_FSIZE, &before);
  REQUIRE(writer.error == 0);
  CHECK(writer.ring.header()->slot_count == 8192);
  CHECK(directory.names().size() == 1);
  CHECK(writer.store(1, 2));
  RingReader reader = open_reader(own_ring(directory));
  RingEvent event;
  CHECK(reader.take(false, &event) == RingReader::Taken::kEvent);
}

TEST_CASE("events come out in order, across the ring's end, whatever their length") {
  const TempDirectory directory;
  Writer writer(directory.path(), 64);
  RingReader reader = open_reader(own_ring(directory));
  for (int lap = 0; lap < 200; ++lap) {
    const std::string text(static_cast<std::size_t>(lap * 7 % 1500), static_cast<char>('a' + lap % 26));
    writer.store(lap, lap + 1);
    writer.store_bytes(ValueKind::kText, text);
    CHECK(writer.ring.committed() == 2u * static_cast<unsigned>(lap) + 2);
    RingEvent event;
    REQUIRE(reader.take(false, &event) == RingReader::Taken::kEvent);
    CHECK(event.head->after == static_cast<std::uint64_t>(lap + 1));
    REQUIRE(reader.take(false, &event) == RingReader::Taken::kEvent);
    REQUIRE(event.payload.size() == sizeof(ValueBlob) + padded8(static_cast<std::uint32_t>(text.size())));
    CHECK(memcmp(event.payload.data() + sizeof(ValueBlob), text.data(), text.size()) == 0);
    CHECK(reader.take(false, &event) == RingReader::Taken::kEmpty);
    CHECK(writer.ring.committed() == 2u * static_cast<unsigned>(lap) + 2);
    reader.release();
    CHECK(writer.ring.committed() == 2u * static_cast<unsigned>(lap) + 2);
  }
  const Claim given_up = writer.begin(Op::kCount, 0);
  given_up.commit();
  CHECK(writer.ring.committed() == 400);
}

TEST_CASE("a slot claimed and not committed holds up a living writer's events, and is stepped over for a dead one") {
  const TempDirectory directory;
  Writer writer(directory.path());
  writer.store(0, 1);
  const Claim open_claim = writer.begin(Op::kStore, 1000);
  writer.store(1, 2);
  RingReader reader = open_reader(own_ring(directory));
  RingEvent event;
  CHECK(reader.take(false, &event) == RingReader::Taken::kEvent);
  CHECK(reader.take(false, &event) == RingReader::Taken::kPending);
  REQUIRE(reader.take(true, &event) == RingReader::Taken::kEvent);
  CHECK(event.head->after == 2);
  CHECK(reader.skipped() == open_claim.slots);
}

TEST_CASE("several producers and one reader: everything arrives once, each producer's events in its order") {
  const TempDirectory directory;
  Writer writer(directory.path(), 256);
  RingReader reader = open_reader(own_ring(directory));
  // a reader that is known to live is waited for longer than one that may be gone
  RingHeader& header = *writer.ring.header();
  header.collector_pid.store(static_cast<std::uint32_t>(getpid()));
  constexpr int kThreads = 4;
  constexpr std::int64_t kEvents = 50'000;
  std::vector<std::thread> producers;
  for (int id = 0; id < kThreads; ++id)
    producers.emplace_back([&writer, id] {
      for (std::int64_t i = 0; i < kEvents; ++i) writer.store(id, i);
    });
  std::vector<std::uint64_t> next(kThreads);
  std::uint64_t wrong = 0;
  for (std::int64_t taken = 0; taken + static_cast<std::int64_t>(header.dropped) < kThreads * kEvents;) {
    RingEvent event;
    if (reader.take(false, &event) != RingReader::Taken::kEvent) {
      reader.release();
      std::this_thread::yield();
      continue;
    }
    ++taken;
    wrong += event.head->after != next[event.head->before]++;
    if (taken % 64 == 0) reader.release();
  }
  for (std::thread& producer : producers) producer.join();
  CHECK(wrong == 0);
  CHECK(header.dropped == 0);
}

TEST_CASE("drop-newest keeps the first events, drop-oldest the last; both count") {
  for (const OnFull policy : {OnFull::kDropNewest, OnFull::kDropOldest}) {
    const TempDirectory directory;
    Writer writer(directory.path(), 64, policy);
    for (int i = 0; i < 100; ++i) writer.store(i, i);
    CHECK(writer.ring.header()->dropped == 36);
    RingReader reader = open_reader(own_ring(directory));
    RingEvent event;
    REQUIRE(reader.take(false, &event) == RingReader::Taken::kEvent);
    CHECK(event.head->after == (policy == OnFull::kDropNewest ? 0 : 36));
    int rest = 0;
    while (reader.take(false, &event) == RingReader::Taken::kEvent) ++rest;
    CHECK(rest == 63);
  }
}

TEST_CASE("drop-oldest under a race: read + dropped = written, nothing torn") {
  const TempDirectory directory;
  Writer writer(directory.path(), 64, OnFull::kDropOldest);
  RingReader reader = open_reader(own_ring(directory));
  constexpr std::int64_t kEvents = 300'000;
  std::atomic<bool> done = false;
  std::thread producer([&] {
    for (std::int64_t i = 0; i < kEvents; ++i) writer.store(i, i);
    done = true;
  });
  std::uint64_t taken = 0;
  std::uint64_t wrong = 0;
  std::uint64_t last = 0;
  for (;;) {
    const bool finished = done;
    RingEvent event;
    if (reader.take(false, &event) == RingReader::Taken::kEvent) {
      wrong += event.head->after != event.head->before || (taken > 0 && event.head->after <= last);
      last = event.head->after;
      ++taken;
    } else if (finished) {
      break;
    }
  }
  producer.join();
  CHECK(wrong == 0);
  CHECK(taken + writer.ring.header()->dropped == kEvents);
}

TEST_CASE("a writer without a reader gives up within a second, then no longer waits for every event") {
  const TempDirectory directory;
  Writer writer(directory.path(), 64);
  for (int i = 0; i < 64; ++i) REQUIRE(writer.store(i, i));
  const std::uint64_t start = EventRing::realtime_ns();
  for (int i = 0; i < 1000; ++i) CHECK_FALSE(writer.store(i, i));
  CHECK(EventRing::realtime_ns() - start < 1'000'000'000u);
  CHECK(writer.ring.header()->dropped == 1000);
  RingReader reader = open_reader(own_ring(directory));
  RingEvent event;
  while (reader.take(false, &event) == RingReader::Taken::kEvent) {
  }
  reader.release();
  CHECK(writer.store(1, 2));
}

TEST_CASE("a reader that runs is waited for longer than any pause, one that was stopped is not") {
  for (const bool runs : {true, false}) {
    const TempDirectory directory;
    Writer writer(directory.path(), 64);
    for (int i = 0; i < 64; ++i) REQUIRE(writer.store(i, i));
    const pid_t child = fork();
    if (child == 0) {
      if (!runs) raise(SIGSTOP);
      for (const std::uint64_t until = EventRing::realtime_ns() + 3'000'000'000; EventRing::realtime_ns() < until;) {
      }
      RingReader reader = open_reader(ring_of(directory, getppid()));
      RingEvent event;
      while (reader.take(false, &event) == RingReader::Taken::kEvent) {
      }
      reader.release();
      _exit(0);
    }
    int status = 0;
    if (!runs) waitpid(child, &status, WUNTRACED);
    writer.ring.header()->collector_pid = static_cast<std::uint32_t>(child);
    CHECK(writer.store(1, 2) == runs);
    CHECK(writer.ring.header()->dropped == (runs ? 0 : 1));
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
}

TEST_CASE("the dictionary gives the same bytes the same reference, in all threads, and counts what it refuses") {
  const TempDirectory directory;
  Writer writer(directory.path());
  Dictionary& names = writer.ring.dictionary();
  std::vector<std::set<DictionaryRef>> refs(100);
  std::vector<std::vector<DictionaryRef>> seen(4, std::vector<DictionaryRef>(100));
  std::vector<std::thread> threads;
  for (auto& mine : seen)
    threads.emplace_back([&names, &mine] {
      for (std::size_t i = 0; i < mine.size(); ++i) mine[i] = names.intern("name " + std::to_string(i));
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : seen) CHECK(mine == seen[0]);
  for (std::size_t i = 0; i < 100; ++i) CHECK(names.string(seen[0][i]) == "name " + std::to_string(i));
  CHECK(names.find(BlobKind::kPlace, seen[0][0]).empty());
  CHECK(names.lookup(BlobKind::kString, "name 7", 6) == seen[0][7]);
  CHECK(names.lookup(BlobKind::kString, "name 777", 8) == 0);
  CHECK(names.string(names.intern("one more")) == "one more");
  CHECK(names.intern(std::string(70'000, 'x')) == 0);
  CHECK(names.header()->refused == 1);
}

TEST_CASE(
    "the dictionary of a large program grows, in a fork child, too, and into the disk's blocks only as far as it is "
    "used") {
  const TempDirectory directory;
  EventRing ring;
  RingSettings settings;
  settings.directory = directory.path().c_str();
  settings.slot_count = 1024;
  REQUIRE(ring_create(settings, &ring) == 0);
  struct stat at_first {
  }, grown{};
  stat(own_ring(directory).c_str(), &at_first);
  CHECK(at_first.st_blocks * 512 < 5 << 20);
  const auto name = [](int i) { return "the name of a variable, or of a file: number " + std::to_string(i); };
  constexpr int kNames = 300'000, kOfChild = 10'000;
  const Dictionary& kept = ring.dictionary();
  std::vector<DictionaryRef> refs;
  for (int i = 0; i < kNames; ++i) refs.push_back(ring.dictionary().intern(name(i)));
  const auto all_there = [&](const Dictionary& names, int count) {
    for (int i = 0; i < count; ++i)
      if (names.string(refs[static_cast<std::size_t>(i)]) != name(i) ||
          names.lookup(BlobKind::kString, name(i).data(), static_cast<std::uint32_t>(name(i).size())) !=
              refs[static_cast<std::size_t>(i)])
        return false;
    return names.header()->refused == 0;
  };
  CHECK(all_there(kept, kNames));
  stat(own_ring(directory).c_str(), &grown);
  CHECK(grown.st_size == at_first.st_size);
  const pid_t child = fork();
  if (child == 0) {
    const bool renewed = ring_renew_in_child(&ring) == 0 && all_there(ring.dictionary(), kNames);
    for (int i = kNames; i < kNames + kOfChild; ++i) refs.push_back(ring.dictionary().intern(name(i)));
    _exit(renewed && all_there(ring.dictionary(), kNames + kOfChild) ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(all_there(open_reader(own_ring(directory)).dictionary(), kNames));
}

TEST_CASE("an earlier ring of the pid is set aside, not overwritten") {
  const TempDirectory directory;
  Writer first(directory.path());
  first.store(1, 2);
  Writer second(directory.path());
  CHECK(second.error == 0);
  CHECK(directory.names().size() == 2);
  CHECK(directory.count(("ring." + std::to_string(getpid()) + ".").c_str()) == 1);
}

TEST_CASE("a fork child gets a ring of its own at the same address, with the parent's dictionary") {
  const TempDirectory directory;
  Writer writer(directory.path());
  writer.store(1, 2);
  const pid_t child = fork();
  if (child == 0) {
    const bool renewed = ring_renew_in_child(&writer.ring) == 0 && writer.ring.header()->head == 0 &&
                         writer.ring.header()->pid == static_cast<std::uint32_t>(getpid());
    writer.store(10, 11);
    writer.ring.dictionary().intern("the child's own");
    _exit(renewed ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  RingReader reader = open_reader(ring_of(directory, child));
  CHECK_FALSE(reader.writer_alive());
  RingEvent event;
  REQUIRE(reader.take(true, &event) == RingReader::Taken::kEvent);
  CHECK(event.head->after == 11);
  VariableBlob variable{};
  REQUIRE(reader.dictionary().read(BlobKind::kVariable, event.head->variable, &variable));
  CHECK(reader.dictionary().string(variable.name) == "counter");
  CHECK(writer.ring.header()->head == 1);
}

TEST_CASE("a fork child that can have no ring is deaf: it counts, and never writes into its parent's") {
  TempDirectory directory;
  Writer writer(directory.path());
  writer.store(1, 2);
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_FSIZE, &none);
    const bool refused = ring_renew_in_child(&writer.ring) == EFBIG;
    const bool stored = writer.store(10, 11);
    _exit(refused && !stored && writer.ring.header()->dropped == 1 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(writer.ring.header()->head == 1);
  CHECK(directory.names().size() == 1);
}

TEST_CASE("a writer's life is told by its lock, which its mapping holds") {
  const TempDirectory directory;
  Writer writer(directory.path());
  RingReader reader = open_reader(own_ring(directory));
  CHECK(ring_lock_held(reader.fd(), RingLock::kWriter));
  CHECK(reader.writer_alive());
  writer.leave();  // the pid still runs, as after exec
  CHECK_FALSE(reader.writer_alive());
}

TEST_CASE("a dead writer lingers while something else holds its mapping") {
  const TempDirectory directory;
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const pid_t child = fork();
  if (child == 0) {
    Writer writer(directory.path());
    if (fork() != 0) _exit(0);
    char byte;
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
  }
  waitpid(child, nullptr, 0);
  const RingReader reader = open_reader(ring_of(directory, child));
  CHECK(reader.writer_alive());
  CHECK(reader.writer_lingers());
  close(ends[1]);
  while (reader.writer_alive()) usleep(1000);
  CHECK_FALSE(reader.writer_lingers());
}

}  // namespace watcher::test
