// Events a second from EventRing::claim in one process to lines of JSON in a file, written by a collector in another:
// end to end, and the collector alone while the other process waits. Beside each the same bytes in bare write() calls.
// Arguments: [EVENTS [DIRECTORY [ENRICH_WORKERS]]].
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "runtime/base/unique_fd.h"
#include "runtime/collect/collector.h"
#include "runtime/output/journal/jsonl_sink.h"
#include "runtime/queue/ring_file.h"

namespace watcher {
namespace {

constexpr std::uint64_t kRunId = 0x5eed;
constexpr std::uint64_t kTurn = 60'000;  // events, fewer than the ring holds

double now_s() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double processor_s() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

void store(EventRing& ring, DictionaryRef variable, DictionaryRef place, std::uint64_t value) {
  const Claim claim = ring.claim(0);
  if (!claim) return;
  EventHead& head = *claim.head;
  head.tsc = ring.now();
  head.variable = variable;
  head.place = place;
  head.context = 0;
  head.thread_id = static_cast<std::uint32_t>(getpid());
  head.op = Op::kStore;
  head.before_kind = head.after_kind = ValueKind::kInt;
  head.flags = static_cast<std::uint8_t>(Scope::kLocal);
  head.before = value;
  head.after = value + 1;
  head.coalesced = 0;
  claim.commit();
}

/// A program with one variable.
class Producer {
 public:
  bool open(const char* directory) {
    RingSettings settings;
    settings.directory = directory;
    settings.run_id = kRunId;
    if (ring_create(settings, &ring_) != 0) return false;
    Dictionary& names = ring_.dictionary();
    variable_ = names.intern(BlobKind::kVariable, VariableBlob{.id = 0x1234,
                                                               .name = names.intern("counter"),
                                                               .format = 0,
                                                               .item_size = 0,
                                                               .mutation_depth = 0,
                                                               .filter = 0,
                                                               .flags = 0});
    place_ = names.intern(
        BlobKind::kPlace,
        PlaceBlob{.function = names.intern("main"), .file = names.intern("/srv/app/counter.py"), .line = 12});
    return true;
  }
  void produce(std::uint64_t events) {
    for (std::uint64_t i = 0; i < events; ++i) store(ring_, variable_, place_, value_++);
  }
  RingHeader& header() { return *ring_.header(); }

 private:
  EventRing ring_;
  DictionaryRef variable_ = 0, place_ = 0;
  std::uint64_t value_ = 0;
};

int produce_all(const char* directory, std::uint64_t events) {
  Producer producer;
  if (!producer.open(directory)) return EXIT_FAILURE;
  const double start = now_s();
  producer.produce(events);
  const double seconds = now_s() - start;
  RingHeader& header = producer.header();
  printf("  producer: %.0f ns/event, blocked %llu times, dropped %llu\n", seconds / static_cast<double>(events) * 1e9,
         static_cast<unsigned long long>(header.blocked.load()),
         static_cast<unsigned long long>(header.dropped.load()));
  header.state.store(RingState::kClosing);
  fflush(stdout);
  return EXIT_SUCCESS;
}

/// Fills the ring each time it is told to, and says so.
int produce_in_turns(const char* directory, int told, int tells) {
  Producer producer;
  if (!producer.open(directory)) return EXIT_FAILURE;
  for (char byte = 0; read(told, &byte, 1) == 1;) {
    producer.produce(kTurn);
    if (write(tells, &byte, 1) != 1) break;
  }
  return EXIT_SUCCESS;
}

std::uint64_t file_bytes(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const off_t bytes = file ? lseek(file.get(), 0, SEEK_END) : 0;
  return bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0;
}

struct Cost {
  double seconds = 0;
  double processor = 0;
};

Cost bare_write(const std::string& path, std::uint64_t bytes) {
  const std::vector<char> block(256 * 1024, 'x');
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const double start = now_s();
  const double processor_start = processor_s();
  while (bytes > 0) {
    const ssize_t written = write(file.get(), block.data(), bytes < block.size() ? bytes : block.size());
    if (written <= 0) return {};
    bytes -= static_cast<std::uint64_t>(written);
  }
  const Cost cost{now_s() - start, processor_s() - processor_start};
  unlink(path.c_str());
  return cost;
}

std::unique_ptr<Collector> open_collector(const std::string& directory, const char* workers) {
  Options options;
  if (!options.set("output", directory, "bench") || !options.set("enrich_workers", workers, "bench")) return nullptr;
  auto opened = Collector::open(options, kRunId);
  if (opened) return std::move(opened.value());
  fprintf(stderr, "%s\n", opened.error().message.c_str());
  return nullptr;
}

/// Lines that are there already, in batches as the collector writes them: the file's own part of it. Medians of turns.
int measure_file(const std::string& directory) {
  constexpr std::size_t kBatchBytes = 256 * 1024, kTurns = 5;
  std::string lines(file_bytes(directory + "/events.jsonl"), 0);
  const UniqueFd journal(open((directory + "/events.jsonl").c_str(), O_RDONLY | O_CLOEXEC));
  if (read(journal.get(), lines.data(), lines.size()) != static_cast<ssize_t>(lines.size())) return EXIT_FAILURE;
  std::array<double, kTurns> ratios{}, rates{};
  for (std::size_t turn = 0; turn < kTurns; ++turn) {
    const std::string place = directory + "/file" + std::to_string(turn);
    mkdir(place.c_str(), 0700);
    const UniqueFd opened(open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    auto sink = JsonlSink::open(opened.get(), FsyncPolicy::kBatch);
    if (!sink) return EXIT_FAILURE;
    const double start = now_s();
    for (std::string_view left = lines; !left.empty();) {
      const std::string_view batch = left.substr(0, left.rfind('\n', kBatchBytes) + 1);
      if (sink.value()->append(batch) != 0) return EXIT_FAILURE;
      left.remove_prefix(batch.size());
    }
    const double seconds = now_s() - start;
    if (!sink.value()->flush()) return EXIT_FAILURE;
    ratios[turn] = bare_write(place + "/bare", lines.size()).seconds / seconds;
    rates[turn] = static_cast<double>(lines.size()) / seconds;
    unlink((place + "/events.jsonl").c_str());
    rmdir(place.c_str());
  }
  std::sort(ratios.begin(), ratios.end());
  std::sort(rates.begin(), rates.end());
  printf("  the file's writer alone: %.2f GB/s of lines, %.0f %% of the rate of a bare write()\n",
         rates[kTurns / 2] / 1e9, 100 * ratios[kTurns / 2]);
  return EXIT_SUCCESS;
}

/// The collector while nobody stores: what is in the ring already becomes lines.
int measure_writer(const std::string& directory, std::uint64_t events, const char* workers) {
  const auto collector = open_collector(directory, workers);
  int to[2], from[2];
  if (collector == nullptr || pipe(to) != 0 || pipe(from) != 0) return EXIT_FAILURE;
  const pid_t producer = fork();
  if (producer == 0) {
    close(to[1]);
    _exit(produce_in_turns(directory.c_str(), to[0], from[1]));
  }
  Cost cost;
  std::uint64_t written = 0;
  for (char byte = 'x'; written < events;) {
    if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1) return EXIT_FAILURE;
    const Cost start{now_s(), processor_s()};
    while (const std::uint64_t now = collector->step()) written += now;
    cost.seconds += now_s() - start.seconds;
    cost.processor += processor_s() - start.processor;
  }
  close(to[1]);
  waitpid(producer, nullptr, 0);
  collector->step();
  if (!collector->finish()) return EXIT_FAILURE;
  const Cost bare = bare_write(directory + "/bare", file_bytes(directory + "/events.jsonl"));
  printf(
      "  collector alone: %.0f events/s, bare write() of the same bytes %.0f/s: %.0f %% of its rate; processor time "
      "%.0f "
      "and %.0f ns an event\n",
      static_cast<double>(written) / cost.seconds, static_cast<double>(written) / bare.seconds,
      bare.seconds / cost.seconds * 100, cost.processor / static_cast<double>(written) * 1e9,
      bare.processor / static_cast<double>(written) * 1e9);
  return measure_file(directory);
}

int measure(const std::string& directory, std::uint64_t events, const char* workers) {
  const auto opened = open_collector(directory, workers);
  if (opened == nullptr) return EXIT_FAILURE;
  Collector& collector = *opened;
  const double start = now_s();
  const double processor_start = processor_s();
  const pid_t producer = fork();
  if (producer == 0) _exit(produce_all(directory.c_str(), events));
  std::uint64_t written = 0;
  while (written < events) {
    const std::uint64_t now = collector.step();
    written += now;
    if (now == 0) usleep(100);
    if (now == 0 && waitpid(producer, nullptr, WNOHANG) != 0 && collector.step() == 0) break;
  }
  const double seconds = now_s() - start;
  const double processor = processor_s() - processor_start;
  waitpid(producer, nullptr, 0);
  collector.step();
  if (!collector.finish()) return EXIT_FAILURE;
  const std::uint64_t bytes = file_bytes(directory + "/events.jsonl");
  const double bare = bare_write(directory + "/bare", bytes).seconds;
  printf(
      "  end to end: %.0f events/s (%llu of %llu events, %.0f bytes each); collector alone %.0f events per CPU "
      "second\n",
      static_cast<double>(written) / seconds, static_cast<unsigned long long>(written),
      static_cast<unsigned long long>(events), static_cast<double>(bytes) / static_cast<double>(written),
      static_cast<double>(written) / processor);
  printf("  bare write() of the same bytes: %.3f s; the pipeline took %.3f s, %.2f times as long\n", bare, seconds,
         seconds / bare);
  return written == events ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace watcher

int main(int argc, char** argv) {
  const std::uint64_t events = argc > 1 ? strtoull(argv[1], nullptr, 10) : 2'000'000;
  std::string directory = argc > 2 ? argv[2] : "/tmp";
  directory += "/watcher-pipeline.XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return EXIT_FAILURE;
  printf("pipeline, %llu int stores in %s\n", static_cast<unsigned long long>(events), directory.c_str());
  fflush(stdout);
  const char* const workers = argc > 3 ? argv[3] : "0";
  int result = EXIT_SUCCESS;
  for (const auto part : {watcher::measure, watcher::measure_writer}) {
    if (part(directory, events, workers) != EXIT_SUCCESS) result = EXIT_FAILURE;
    for (const char* name : {"/events.jsonl", "/summary.json"}) unlink((directory + name).c_str());
  }
  rmdir(directory.c_str());
  return result;
}
