// A process that records by itself, without an interpreter: `ring_writer COUNT [linger]` stores 1…COUNT into a ring of
// the run that its environment names, and announces each store on stdout after it was committed. It ends without a
// farewell, as a killed program does; with `linger` it goes on storing until it is killed.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

#include "runtime/queue/ring_file.h"

namespace {

using namespace std::literals;

struct Recorder {
  watcher::EventRing ring;
  watcher::DictionaryRef variable = 0;
  watcher::DictionaryRef place = 0;

  int open() {
    watcher::RingSettings settings;
    settings.directory = getenv("WATCHER_OUTPUT");
    settings.slot_count = 4096;
    settings.run_id = strtoull(getenv("WATCHER_RUN_ID"), nullptr, 16);
    if (const int error = watcher::ring_create(settings, &ring)) return error;
    watcher::Dictionary& names = ring.dictionary();
    variable = names.intern(watcher::BlobKind::kVariable, watcher::VariableBlob{.id = 1,
                                                                                .name = names.intern("counter"sv),
                                                                                .format = 0,
                                                                                .item_size = 0,
                                                                                .mutation_depth = 0,
                                                                                .filter = 0,
                                                                                .flags = 0});
    place = names.intern(
        watcher::BlobKind::kPlace,
        watcher::PlaceBlob{.function = names.intern("main"sv), .file = names.intern("/writer"sv), .line = 1});
    return 0;
  }

  void store(std::uint64_t value) {
    const watcher::Claim claim = ring.claim(0);
    if (!claim) return;
    watcher::EventHead& head = *claim.head;
    head.tsc = ring.now();
    head.variable = variable;
    head.place = place;
    head.context = 0;
    head.thread_id = static_cast<std::uint32_t>(getpid());
    head.op = watcher::Op::kStore;
    head.before_kind = head.after_kind = watcher::ValueKind::kInt;
    head.flags = static_cast<std::uint8_t>(watcher::Scope::kLocal);
    head.before = value - 1;
    head.after = value;
    head.coalesced = 0;
    claim.commit();
  }
};

void announce(std::uint64_t value) {
  char line[24];
  const int length = snprintf(line, sizeof line, "%llu\n", static_cast<unsigned long long>(value));
  if (write(STDOUT_FILENO, line, static_cast<size_t>(length)) != length) _exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  Recorder recorder;
  if (argc < 2 || !getenv("WATCHER_OUTPUT") || !getenv("WATCHER_RUN_ID")) return 64;
  if (const int error = recorder.open()) return fprintf(stderr, "no ring: %s\n", strerror(error)), 65;
  const std::uint64_t count = strtoull(argv[1], nullptr, 10);
  std::uint64_t value = 0;
  while (value < count) {
    recorder.store(++value);
    announce(value);
  }
  const struct timespec pause = {0, 1'000'000};
  while (argc > 2) {
    recorder.store(++value);
    nanosleep(&pause, nullptr);
  }
  _exit(0);
}
