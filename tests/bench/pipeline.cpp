// Events a second from EventRing::claim in one process to lines of JSON in a file, written by one collector in another;
// beside it the same bytes in bare write() calls. Arguments: [EVENTS [DIRECTORY]].
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "runtime/base/unique_fd.h"
#include "runtime/collect/collector.h"
#include "runtime/queue/ring_file.h"

namespace watcher {
namespace {

constexpr std::uint64_t kRunId = 0x5eed;

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

int produce(const char* directory, std::uint64_t events) {
  EventRing ring;
  RingSettings settings;
  settings.directory = directory;
  settings.run_id = kRunId;
  if (ring_create(settings, &ring) != 0) return EXIT_FAILURE;
  Dictionary& names = ring.dictionary();
  const VariableBlob variable{.id = 0x1234,
                              .name = names.intern("counter"),
                              .format = 0,
                              .item_size = 0,
                              .mutation_depth = 0,
                              .filter = 0,
                              .flags = 0};
  const PlaceBlob place{.function = names.intern("main"), .file = names.intern("/srv/app/counter.py"), .line = 12};
  const DictionaryRef variable_ref = names.intern(BlobKind::kVariable, variable);
  const DictionaryRef place_ref = names.intern(BlobKind::kPlace, place);
  const double start = now_s();
  for (std::uint64_t i = 0; i < events; ++i) store(ring, variable_ref, place_ref, i);
  const double seconds = now_s() - start;
  RingHeader& header = *ring.header();
  printf("  producer: %.0f ns/event, blocked %llu times, dropped %llu\n", seconds / static_cast<double>(events) * 1e9,
         static_cast<unsigned long long>(header.blocked.load()),
         static_cast<unsigned long long>(header.dropped.load()));
  header.state.store(RingState::kClosing);
  fflush(stdout);
  return EXIT_SUCCESS;
}

std::uint64_t file_bytes(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const off_t bytes = file ? lseek(file.get(), 0, SEEK_END) : 0;
  return bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0;
}

double bare_write_s(const std::string& path, std::uint64_t bytes) {
  const std::vector<char> block(256 * 1024, 'x');
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const double start = now_s();
  while (bytes > 0) {
    const ssize_t written = write(file.get(), block.data(), bytes < block.size() ? bytes : block.size());
    if (written <= 0) return 0;
    bytes -= static_cast<std::uint64_t>(written);
  }
  return now_s() - start;
}

int measure(const std::string& directory, std::uint64_t events) {
  Options options;
  if (!options.set("output", directory, "bench")) return EXIT_FAILURE;
  Result<std::unique_ptr<Collector>> opened = Collector::open(options, kRunId);
  if (!opened) return fprintf(stderr, "%s\n", opened.error().message.c_str()), EXIT_FAILURE;
  Collector& collector = *opened.value();
  const double start = now_s();
  const double processor_start = processor_s();
  const pid_t producer = fork();
  if (producer == 0) _exit(produce(directory.c_str(), events));
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
  const double bare = bare_write_s(directory + "/bare", bytes);
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
  const int result = watcher::measure(directory, events);
  for (const char* name : {"/events.jsonl", "/summary.json", "/bare"}) unlink((directory + name).c_str());
  rmdir(directory.c_str());
  return result;
}
