#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "runtime/queue/ring_reader.h"
#include "tests/unit/collect_fixture.h"

namespace watcher::test {

TEST_CASE("the summary says while the run goes on what was written, lost and waits") {
  const TempDirectory directory;
  auto collector = open_collector(directory.path());
  Writer writer(directory.path());
  for (int i = 0; i < 10; ++i) writer.store(i, i + 1);
  CHECK(collector->step() == 10);
  writer.ring.header()->dropped += 3;
  usleep(1'100'000);
  writer.store(10, 11);
  CHECK(collector->step() == 1);
  const auto summary = summary_of(directory);
  CHECK(summary["events_written"].GetUint64() == 11);
  CHECK(summary["events_lost"].GetUint64() == 3);
  CHECK(summary["buffered"].GetUint64() == 0);
  CHECK(summary["variables"]["0000000000000007"]["events"].GetUint64() == 11);
  CHECK(summary["exit_code"].IsNull());
  for (int i = 0; i < 5; ++i) writer.store(i, i + 1);
  CHECK(collector->finish());  // as a collector that is told to end and leaves the rest to the next one
  CHECK(summary_of(directory)["buffered"].GetUint64() == 5);
  CHECK(summary_of(directory)["processes"][0]["buffered"].GetUint64() == 5);
}

TEST_CASE("drop-oldest: what a killed collector had taken and not written is counted as lost") {
  const TempDirectory directory;
  Writer writer(directory.path(), 64, OnFull::kDropOldest);
  for (int i = 0; i < 20; ++i) writer.store(i - 1, i);
  const pid_t child = fork();
  if (child == 0) {
    auto reader =
        RingReader::open(UniqueFd(open(directory.file(("ring." + std::to_string(getppid())).c_str()).c_str(), O_RDWR)));
    RingEvent event;
    for (int i = 0; i < 7; ++i)
      if (reader.value().take(false, &event) != RingReader::Taken::kEvent) _exit(1);
    raise(SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  auto collector = open_collector(directory.path());
  CHECK(collector->step() == 13);
  writer.store(19, 20);
  CHECK(collector->step() == 1);
  CHECK(collector->finish());
  CHECK(summary_of(directory)["events_lost"].GetUint64() == 7);
  CHECK(parse(read_lines(directory.file("events.jsonl")).back())["dropped_before"].GetUint64() == 7);
}

}  // namespace watcher::test
