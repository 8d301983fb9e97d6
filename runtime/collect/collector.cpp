#include "runtime/collect/collector.h"

#include <time.h>

#include <list>
#include <optional>

#include "runtime/collect/processed_output.h"
#include "runtime/collect/ring_directory.h"
#include "runtime/collect/ring_drain.h"
#include "runtime/collect/sink_set.h"
#include "runtime/output/journal/own_file.h"

namespace watcher {
namespace {

constexpr int kLooksAtEndingRings = 2000;  // a millisecond each, or more
constexpr std::uint64_t kRefreshNs = 1'000'000'000;

SymbolSettings symbol_settings(const Options& options) {
  return {.cache_size = options.number("symbol_cache_size"),
          .cache_ttl_s = options.number("symbol_cache_ttl_s"),
          .debug_path = options.get("debug_path")};
}

class DirectoryCollector final : public Collector {
 public:
  DirectoryCollector(UniqueFd directory, std::unique_ptr<JsonlSink> sink, std::unique_ptr<ProcessorChain> chain,
                     const Options& options, std::uint64_t run_id)
      : directory_(std::move(directory)),
        sink_(std::move(sink)),
        symbols_(symbol_settings(options)),
        chain_(std::move(chain)),
        summary_(run_id),
        processed_(chain_.get(), sink_.get(), &summary_, run_id),
        workers_(options.number("enrich_workers")),
        files_(directory_.get(), run_id) {
    tools_.rules = RecordingRules::from(options);
    tools_.options = options;
    tools_.symbols = &symbols_;
    tools_.sink = sink_.get();
    tools_.summary = &summary_;
    tools_.chain = chain_.get();
    tools_.workers = &workers_;
    tools_.run_id = run_id;
    summary_.news().started_ns = EventRing::realtime_ns();
  }
  ~DirectoryCollector() override {
    for (RingDrain& ring : rings_) ring.disown();
  }

  Result<void> add_sinks(const Options& options) override {
    Result<void> opened = sinks_.open(options, directory_.get(), &summary_.news());
    sink_->rotated().spare([this] { return sinks_.first_file_in_use(); });
    sink_->rotated().look_soon();  // at what a killed collector may have left
    return opened;
  }

  std::uint64_t step() override {
    tools_.clock.refresh();
    adopt(files_.claim_new());
    std::uint64_t written = 0;
    for (RingDrain& ring : rings_) written += ring.drain();
    close_rings();
    bury_rings();
    written += processed_.write();
    refresh_summary(written > 0);
    return written;
  }

  bool busy() const override { return !rings_.empty(); }

  bool lingering() const override {
    for (const RingDrain& ring : rings_)
      if (ring.writer_lingers()) return true;
    return false;
  }

  // What is in a spool left its ring before what is still in one.
  void recover() override {
    processed_.recover(directory_.get());
    adopt(files_.claim_dead());
    constexpr timespec kLook{0, 1'000'000};
    for (int looks = 0; looks < kLooksAtEndingRings && has_ending_rings(); ++looks) {
      if (step() == 0) nanosleep(&kLook, nullptr);
    }
    while (has_dead_rings()) step();
  }

  void rotate() override { sink_->rotate(); }

  void set_outcome(int exit_code, int signal) override {
    summary_.news().exit_code = exit_code;
    summary_.news().signal = signal;
  }

  Result<void> start_processors() override { return chain_ ? chain_->start_workers() : Result<void>(); }

  std::uint64_t settle_processors() override {
    processed_.settle(*this);
    return processed_.failed();
  }

  std::vector<std::string> complaints() const override { return processed_.complaints(); }

  Result<void> finish() override {
    processed_.settle(*this);
    processed_.stop();
    for (RingDrain& ring : rings_) ring.report();
    const Result<void> flushed = sink_->flush();
    sinks_.finish();
    sink_->rotated().finish();
    const Result<void> summarised = write_summary();
    return flushed ? summarised : flushed;
  }

 private:
  void adopt(std::vector<FoundRing> found) {
    changed_ = changed_ || !found.empty();
    for (FoundRing& ring : found) rings_.emplace_back(std::move(ring), &tools_);
  }

  bool has_ending_rings() const {
    for (const RingDrain& ring : rings_)
      if (ring.writer_ending()) return true;
    return false;
  }

  bool has_dead_rings() const {
    for (const RingDrain& ring : rings_)
      if (!ring.writer_alive()) return true;
    return false;
  }

  Result<void> write_summary() {
    summary_.news().ended_ns = EventRing::realtime_ns();
    summary_.news().symbol_hits += symbols_.hits() - symbol_hits_told_;
    summary_.news().symbol_misses += symbols_.misses() - symbol_misses_told_;
    symbol_hits_told_ = symbols_.hits();
    symbol_misses_told_ = symbols_.misses();
    processed_.report();
    sinks_.report(&summary_.news());
    return summary_.write(directory_.get());
  }

  // For whoever looks at a run under way.
  void refresh_summary(bool wrote) {
    changed_ = changed_ || wrote;
    const std::uint64_t now = EventRing::realtime_ns();
    if (!changed_ || (now - refreshed_ns_ < kRefreshNs && now >= refreshed_ns_)) return;
    refreshed_ns_ = now;
    changed_ = false;
    for (RingDrain& ring : rings_) ring.report();
    (void)write_summary();  // tried again, and reported, by finish()
  }

  // All rings that close now share one summary: a storm of short children must not cost one each.
  void close_rings() {
    bool any = false;
    for (RingDrain& ring : rings_) {
      if (ring.state() != RingDrain::State::kClosing) continue;
      ring.report();
      any = true;
    }
    if (!any) return;
    (void)write_summary();  // tried again, and reported, by finish()
    for (RingDrain& ring : rings_)
      if (ring.state() == RingDrain::State::kClosing) ring.confirm_closed();
  }

  void bury_rings() {
    for (auto ring = rings_.begin(); ring != rings_.end();) {
      if (ring->state() != RingDrain::State::kDead) {
        ++ring;
        continue;
      }
      ring->report();
      files_.remove(ring->ring());
      files_.forget(ring->ring().file);
      ring = rings_.erase(ring);
    }
  }

  UniqueFd directory_;
  SinkSet sinks_;
  std::unique_ptr<JsonlSink> sink_;
  NativeSymbols symbols_;
  std::uint64_t symbol_hits_told_ = 0;  // to the summary
  std::uint64_t symbol_misses_told_ = 0;
  std::unique_ptr<ProcessorChain> chain_;  // null: no processors
  Summary summary_;
  ProcessedOutput processed_;
  DrainTools tools_;
  EnrichWorkers workers_;
  RingDirectory files_;
  std::list<RingDrain> rings_;                             // a ring's address stays
  std::uint64_t refreshed_ns_ = EventRing::realtime_ns();  // when the summary was
  bool changed_ = false;                                   // since then
};

}  // namespace

Result<std::unique_ptr<Collector>> Collector::open(const Options& options, std::uint64_t run_id) {
  Result<UniqueFd> directory = open_output_directory(options.get("output"));
  if (!directory) return directory.error();
  const RecordingRules rules = RecordingRules::from(options);
  Result<std::unique_ptr<JsonlSink>> sink = JsonlSink::open(directory.value().get(), rules.fsync, rules.rotation);
  if (!sink) return sink.error();
  Result<std::unique_ptr<ProcessorChain>> chain = ProcessorChain::open(options, directory.value().get());
  if (!chain) return chain.error();
  return std::unique_ptr<Collector>(std::make_unique<DirectoryCollector>(
      std::move(directory.value()), std::move(sink.value()), std::move(chain.value()), options, run_id));
}

}  // namespace watcher
