// watcher recover: writes down what killed processes have left in their queues.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>

#include "config/environment.h"
#include "runtime/base/unique_fd.h"
#include "runtime/collect/collector.h"
#include "runtime/output/summary_json.h"
#include "runtime/queue/ring_header.h"
#include "tools/watcher-commands.h"

namespace watcher {
namespace {

// What shared a killed program's memory, and a killed collector, hold a queue for a moment longer.
constexpr int kLooks = 10;
constexpr unsigned kPause_us = 50'000;

struct Rings {
  std::size_t count = 0;
  std::uint64_t run_id = 0;  // of one of them
};

Rings find_rings(const std::string& directory) {
  Rings rings;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()), closedir);
  while (const dirent* entry = stream ? readdir(stream.get()) : nullptr) {
    if (!std::string_view(entry->d_name).starts_with("ring.")) continue;
    ++rings.count;
    const UniqueFd file(openat(dirfd(stream.get()), entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    std::uint64_t run_id = 0;
    if (file && pread(file.get(), &run_id, sizeof run_id, offsetof(RingHeader, run_id)) == sizeof run_id)
      rings.run_id = run_id;
  }
  return rings;
}

std::uint64_t events_so_far(const std::string& directory, std::uint64_t run_id) {
  std::ifstream file(directory + "/summary.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  RunTotals totals;
  return parse_summary(text, run_id, &totals) ? totals.written + totals.recovered : 0;
}

Result<void> drain(const std::string& directory, std::uint64_t run_id) {
  bool asked = false;
  auto options = load_from_environment(&asked);  // how events are to be written
  if (!options) return options.error();
  if (auto set = options.value().set("output", directory, "DIR"); !set) return set;
  auto collector = Collector::open(options.value(), run_id);
  if (!collector) return collector.error();
  for (int looks = 0; looks < kLooks; ++looks) {
    collector.value()->recover();
    if (find_rings(directory).count == 0) break;
    usleep(kPause_us);
  }
  return collector.value()->finish();
}

}  // namespace

int recover(const std::string& directory) {
  struct stat status {};
  if (stat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))
    return complain_and_return(kMistake, directory + " is no directory; give the one that --output named");
  const Rings found = find_rings(directory);
  if (found.count == 0) {
    std::printf("nothing to recover in %s\n", directory.c_str());
    return kFine;
  }
  const std::uint64_t before = events_so_far(directory, found.run_id);
  if (auto drained = drain(directory, found.run_id); !drained)
    return complain_and_return(kNothing, drained.error().message);
  const std::size_t left = find_rings(directory).count;
  std::printf("%llu events of %zu processes recovered\n",
              static_cast<unsigned long long>(events_so_far(directory, found.run_id) - before), found.count - left);
  if (left) std::printf("%zu queues belong to processes that still run\n", left);
  return kFine;
}

}  // namespace watcher
