#include "runtime/collect/processed_output.h"

#include <signal.h>
#include <time.h>

#include <algorithm>

#include "runtime/collect/collector.h"

namespace watcher {
namespace {

constexpr std::uint64_t kPatienceNs = 10'000'000'000;
constexpr timespec kPause{0, 1'000'000};

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

/// Signals are blocked where a program is waited for; one that waits now came after the program's end.
bool asked_to_end() {
  sigset_t waiting;
  sigpending(&waiting);
  return sigismember(&waiting, SIGINT) == 1 || sigismember(&waiting, SIGTERM) == 1;
}

ProcessorCount total_of(ProcessorStage& stage) {
  const StageCounts& counts = stage.counts();
  ProcessorCount total;
  total.name = stage.name();
  total.passed = counts.passed;
  total.dropped = counts.dropped;
  total.failed = counts.failed;
  total.timeouts = counts.timeouts;
  total.restarts = counts.restarts;
  total.output_bytes = counts.output_bytes;
  total.last_error = counts.last_error();
  return total;
}

ProcessorCount difference(ProcessorCount now, const ProcessorCount& before) {
  now.passed -= before.passed;
  now.dropped -= before.dropped;
  now.failed -= before.failed;
  now.timeouts -= before.timeouts;
  now.restarts -= before.restarts;
  now.output_bytes -= before.output_bytes;
  return now;
}

}  // namespace

void ProcessedOutput::account(const ProcessedEvents& events, std::uint64_t written) {
  RunTotals& news = summary_->news();
  if (events.run_id != run_id_) {
    news.recovered += written;
    return;
  }
  news.written += written;
  for (std::uint64_t i = 0; i < written; ++i) {
    ++summary_->variable(events.infos[i].variable_id, {})->events;
    news.coalesced += events.infos[i].coalesced;
  }
}

// First the output, then the note that it is there: killed in between, we leave events to be written twice, never lost.
std::uint64_t ProcessedOutput::write() {
  if (chain_ == nullptr) return 0;
  chain_->idle();
  std::uint64_t total = 0;
  for (const ProcessedEvents& events : chain_->take_processed()) {
    const std::uint64_t lost = events.text.empty() ? 0 : sink_->append(events.text);
    account(events, events.infos.size() - lost);
    summary_->news().dropped += lost;
    chain_->note_written(events);
    total += events.infos.size() - lost;
  }
  summary_->news().dropped += chain_->take_lost();
  return total;
}

void ProcessedOutput::write_as_it_is(Spool& spool) {
  for (const Spool::Place& place : spool.unfinished()) {
    const auto chunk = spool.read(place);
    if (!chunk) {
      summary_->news().dropped += place.lines - place.first;
      continue;
    }
    std::size_t start = 0;
    for (std::uint64_t i = 0; i < place.first; ++i) start += chunk->infos[i].bytes;
    const std::uint64_t lost = sink_->append(std::string_view(chunk->text).substr(start));
    summary_->news().recovered += place.lines - place.first - lost;
    summary_->news().dropped += lost;
    spool.note_done(place, place.lines, true);
  }
  spool.remove();
}

void ProcessedOutput::recover(int directory_fd) {
  for (const std::string& name : Spool::names(directory_fd)) {
    std::unique_ptr<Spool> spool = Spool::adopt(directory_fd, name);
    if (spool == nullptr) continue;
    if (chain_ != nullptr && chain_->has_workers())
      chain_->submit(std::move(spool));
    else
      write_as_it_is(*spool);
  }
}

void ProcessedOutput::settle(Collector& collector) {
  if (chain_ == nullptr) return;
  const std::uint64_t begun = now_ns();
  for (const std::uint64_t goal = chain_->submitted(); chain_->finished() < goal && !gave_up_;) {
    if (collector.step() == 0) nanosleep(&kPause, nullptr);
    gave_up_ = asked_to_end() || now_ns() > std::max(begun, chain_->last_success_ns()) + kPatienceNs;
  }
}

void ProcessedOutput::stop() {
  if (chain_ == nullptr) return;
  chain_->stop();
  write();
  left_ = chain_->submitted() - chain_->finished();
  summary_->news().waiting += left_;
}

void ProcessedOutput::report() {
  if (chain_ == nullptr) return;
  std::vector<ProcessorCount>& news = summary_->news().processors;
  const auto& stages = chain_->stages();
  news.resize(stages.size());
  reported_.resize(stages.size());
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const ProcessorCount total = total_of(*stages[i]);
    const ProcessorCount fresh = difference(total, reported_[i]);
    reported_[i] = total;
    news[i].name = fresh.name;
    news[i].passed += fresh.passed;
    news[i].dropped += fresh.dropped;
    news[i].failed += fresh.failed;
    news[i].timeouts += fresh.timeouts;
    news[i].restarts += fresh.restarts;
    news[i].output_bytes += fresh.output_bytes;
    news[i].last_error = fresh.last_error;
  }
}

std::uint64_t ProcessedOutput::failed() const {
  std::uint64_t sum = 0;
  if (chain_ != nullptr)
    for (const auto& stage : chain_->stages()) sum += stage->counts().failed;
  return sum;
}

std::vector<std::string> ProcessedOutput::complaints() const {
  std::vector<std::string> sentences;
  if (chain_ == nullptr) return sentences;
  for (const auto& stage : chain_->stages()) {
    const std::uint64_t events = stage->counts().failed;
    if (events > 0)
      sentences.push_back("processor " + stage->name() + " failed for " + std::to_string(events) +
                          (events == 1 ? " event, which is" : " events, which are") +
                          " left out; the last time: " + stage->counts().last_error());
  }
  if (left_ > 0)
    sentences.push_back(std::to_string(left_) +
                        " events still wait for their processors; the next run in this output directory takes them up");
  return sentences;
}

}  // namespace watcher
