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
#include "tools/terminal-text.h"
#include "tools/watcher-commands.h"

namespace watcher {
namespace {

// What shared a killed program's memory, and a killed collector, hold a queue for a moment longer.
constexpr int kLooks = 10;
constexpr unsigned kPause_us = 50'000;

/// What is left in a directory.
struct Rings {
  std::size_t count = 0;
  std::size_t spools = 0;    // of events on their way through processors
  std::uint64_t run_id = 0;  // of one of the rings
};

Rings find_rings(const std::string& directory) {
  Rings rings;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()), closedir);
  while (const dirent* entry = stream ? readdir(stream.get()) : nullptr) {
    rings.spools += std::string_view(entry->d_name).starts_with("spool.");
    if (!std::string_view(entry->d_name).starts_with("ring.")) continue;
    ++rings.count;
    const UniqueFd file(openat(dirfd(stream.get()), entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    std::uint64_t run_id = 0;
    if (file && pread(file.get(), &run_id, sizeof run_id, offsetof(RingHeader, run_id)) == sizeof run_id)
      rings.run_id = run_id;
  }
  return rings;
}

std::string summary_text_in(const std::string& directory) {
  std::ifstream file(directory + "/summary.json");
  return {std::istreambuf_iterator<char>(file), {}};
}

RunTotals totals_so_far(const std::string& directory, std::uint64_t run_id) {
  RunTotals totals;
  parse_summary(summary_text_in(directory), run_id, &totals);
  return totals;
}

bool names_sinks(const Options& options) {
  return !options.get("trace_file").empty() || !options.get("otlp_endpoint").empty();
}

Result<void> drain(const Options& options, std::uint64_t run_id) {
  auto collector = Collector::open(options, run_id);
  if (!collector) return collector.error();
  if (auto added = collector.value()->add_sinks(options); !added)
    (void)complain_and_return(kNothing, added.error().message);  // the events are to be kept all the same
  for (int looks = 0; looks < kLooks; ++looks) {
    collector.value()->recover();
    if (find_rings(options.get("output")).count == 0) break;
    usleep(kPause_us);
  }
  return collector.value()->finish();
}

void tell_of_rings(std::size_t found, std::size_t left, const RunTotals& before, const RunTotals& after) {
  const std::uint64_t events = after.written + after.recovered - before.written - before.recovered;
  const auto count = static_cast<unsigned long long>(events);
  found != 0 ? std::printf("%llu events of %zu processes recovered\n", count, found - left)
             : std::printf("%llu events recovered that were on their way through processors\n", count);
  if (left) std::printf("%zu queues belong to processes that still run\n", left);
}

void tell_of_sinks(const RunTotals& before, const RunTotals& after) {
  for (const auto& [name, count] : after.sinks) {
    const auto known = before.sinks.find(name);
    const std::uint64_t delivered = known == before.sinks.end() ? 0 : known->second.delivered;
    std::printf("%s: %llu events delivered%s%s\n", name.c_str(),
                static_cast<unsigned long long>(count.delivered - delivered), count.fault.empty() ? "" : "; ",
                safe_text(count.fault).c_str());
  }
}

}  // namespace

int recover(const std::string& directory) {
  struct stat status {};
  if (stat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))
    return complain_and_return(kMistake, directory + " is no directory; give the one that --output named");
  bool asked = false;
  auto options = load_from_environment(&asked);  // how events are to be written
  if (!options) return complain_and_return(kNothing, options.error().message);
  if (auto set = options.value().set("output", directory, "DIR"); !set)
    return complain_and_return(kNothing, set.error().message);
  const Rings found = find_rings(directory);
  const bool is_empty = found.count == 0 && found.spools == 0;
  if (is_empty) std::printf("nothing to recover in %s\n", directory.c_str());
  const std::uint64_t run_id = found.count ? found.run_id : run_of_summary(summary_text_in(directory));
  if (is_empty && (run_id == 0 || !names_sinks(options.value()))) return kFine;
  const RunTotals before = totals_so_far(directory, run_id);
  if (auto drained = drain(options.value(), run_id); !drained)
    return complain_and_return(kNothing, drained.error().message);
  const RunTotals after = totals_so_far(directory, run_id);
  if (!is_empty) tell_of_rings(found.count, find_rings(directory).count, before, after);
  tell_of_sinks(before, after);
  return kFine;
}

}  // namespace watcher
