#include "runtime/collect/sink_set.h"

#include <algorithm>
#include <utility>

#include "runtime/output/sinks/otlp_sink.h"
#include "runtime/output/sinks/trace_sink.h"

namespace watcher {

Result<void> SinkSet::add(const char* name, Result<std::unique_ptr<Sink>> sink, int directory_fd, RunTotals* news) {
  auto follower = sink ? JournalFollower::open(directory_fd, std::move(sink.value())) : sink.error();
  if (!follower) {
    news->sinks[name].fault = follower.error().message;
    return follower.error();
  }
  entries_.push_back({std::move(follower.value())});
  return {};
}

Result<void> SinkSet::open(const Options& options, int directory_fd, RunTotals* news) {
  const std::string& trace = options.get("trace_file");
  Result<void> traced, sent;
  if (!trace.empty()) traced = add("trace", TraceSink::open(trace), directory_fd, news);
  if (!options.get("otlp_endpoint").empty()) sent = add("otlp", OtlpSink::open(options), directory_fd, news);
  return traced ? sent : traced;
}

void SinkSet::finish() {
  for (Entry& entry : entries_) entry.follower->finish();
}

void SinkSet::report(RunTotals* news) {
  for (Entry& entry : entries_) {
    const Sink& sink = entry.follower->sink();
    SinkCount& count = news->sinks[sink.name()];
    count.delivered += sink.delivered() - std::exchange(entry.delivered, sink.delivered());
    count.rejected += sink.rejected() - std::exchange(entry.rejected, sink.rejected());
    count.fault = sink.fault();
  }
}

std::uint64_t SinkSet::first_file_in_use() const {
  std::uint64_t first = ~std::uint64_t{0};
  for (const Entry& entry : entries_) first = std::min(first, entry.follower->first_file_in_use());
  return first;
}

}  // namespace watcher
