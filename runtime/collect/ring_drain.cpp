#include "runtime/collect/ring_drain.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include <span>

#include "runtime/base/raw_syscall.h"

namespace watcher {
namespace {

constexpr std::size_t kBatchEvents = 512;
constexpr std::size_t kBatchesPerTurn = 64;
constexpr std::uint64_t kWorthSharing = 4 * kBatchEvents;  // slots

}  // namespace

RingDrain::RingDrain(FoundRing ring, DrainTools* tools) : ring_(std::move(ring)), tools_(tools) {}

EventBatch& RingDrain::batch(std::size_t number) {
  while (batches_.size() <= number) batches_.emplace_back(ring_.reader, *tools_);
  return batches_[number];
}

/// That are under way at a time.
std::size_t RingDrain::batches_worth_while() const {
  if (tools_->workers == nullptr || ring_.reader.waiting_slots() < kWorthSharing) return 1;
  return tools_->workers->count() == 1 ? 1 : 2 * tools_->workers->count();
}

std::uint64_t RingDrain::drain() {
  RingReader& reader = ring_.reader;
  if (!reader.intact()) {
    state_ = State::kDead;
    return 0;
  }
  // Both are read before the ring is found empty: what was written before is seen.
  const bool dead = !reader.writer_alive();
  const bool closing = reader.header()->state.load(std::memory_order_acquire) == RingState::kClosing;
  notice_losses();
  if (!dead) watchdog_.look(*reader.header(), reader.identity().pid);
  const std::size_t width = batches_worth_while();
  std::uint64_t written = 0;
  bool more = true;
  std::size_t begun = 0;
  for (std::size_t finished = 0;; ++finished) {
    for (; more && begun < kBatchesPerTurn && begun - finished < width; ++begun) {
      EventBatch& next = batch(begun % width);
      more = next.take(&reader, dead, kBatchEvents);
      if (width > 1 && !next.in_turn()) tools_->workers->begin(&next);
    }
    if (finished == begun) break;
    written += finish(batch(finished % width), width > 1);
  }
  while (begun == 1 && batches_.size() > 1) batches_.pop_back();
  if (!more) state_ = dead ? State::kDead : closing && !confirmed_ ? State::kClosing : State::kLive;
  return written;
}

// The lines first, the room second: a collector that is killed in between leaves events to be written twice (with the
// same id), never lost.
std::uint64_t RingDrain::finish(EventBatch& batch, bool is_shared) {
  if (is_shared && !batch.in_turn())
    tools_->workers->finish(&batch);
  else
    batch.render(&filter_);
  unwritten_ += batch.failed();
  RunTotals& news = tools_->summary->news();
  if (is_ours()) {
    news.filtered += batch.filtered();
    news.redacted += batch.redacted();
  }
  tell_losses(batch);
  std::uint64_t written = 0;
  if (!batch.lines().empty()) {
    const bool has_workers = tools_->chain != nullptr && tools_->chain->has_workers();
    written = has_workers ? hand_to_processors(batch) : append(batch);
    notice_losses();
  }
  ring_.reader.release(batch.end());
  return written;
}

std::uint64_t RingDrain::append(const EventBatch& batch) {
  const std::uint64_t lost = tools_->sink->append(batch.text());
  const std::uint64_t written = batch.lines().size() - lost;
  unwritten_ += lost;
  RunTotals& news = tools_->summary->news();
  (is_ours() ? news.written : news.recovered) += written;
  if (is_ours()) count_written(batch, written);
  return written;
}

VariableCount* RingDrain::variable_of(const EventBatch::Line& line) {
  if (variable_ == nullptr || variable_id_ != line.variable_id) {
    variable_ = tools_->summary->variable(line.variable_id, line.variable_name);
    variable_id_ = line.variable_id;
  }
  return variable_;
}

void RingDrain::count_written(const EventBatch& batch, std::uint64_t written) {
  for (const EventBatch::Line& line : std::span(batch.lines()).first(written)) {
    ++variable_of(line)->events;
    tools_->summary->news().coalesced += line.coalesced;
  }
}

/// What is behind them writes and counts.
std::uint64_t RingDrain::hand_to_processors(const EventBatch& batch) {
  EventChunk chunk{.run_id = ring_.reader.identity().run_id, .infos = {}, .text = std::string(batch.text())};
  for (const EventBatch::Line& line : batch.lines()) {
    variable_of(line);  // the summary learns its name
    chunk.infos.push_back({.variable_id = line.variable_id, .coalesced = line.coalesced, .bytes = line.bytes});
  }
  unwritten_ += tools_->chain->submit(&chunk);
  return batch.lines().size();
}

// Drops happen when the ring is full, so they lie behind everything claimed so far: the first event after this moment
// is the first that may say so.
void RingDrain::notice_losses() {
  const RingHeader& header = *ring_.reader.header();
  const std::uint64_t losses = header.dropped.load(std::memory_order_relaxed) + unwritten_;
  if (losses == losses_seen_) return;
  losses_seen_ = losses;
  losses_ticket_ = header.head.load(std::memory_order_acquire);
}

void RingDrain::tell_losses(EventBatch& batch) {
  if (losses_seen_ == losses_told_) return;
  if (batch.tell_dropped(losses_ticket_, losses_seen_ - losses_told_)) losses_told_ = losses_seen_;
}

std::string RingDrain::dictionary_text(DictionaryRef ref) const {
  return std::string(ring_.reader.dictionary().string(ref));
}

void RingDrain::report() {
  const RingIdentity& identity = ring_.reader.identity();
  if (identity.run_id != tools_->run_id) return;
  const RingHeader& header = *ring_.reader.header();
  notice_losses();
  tools_->summary->news().dropped += losses_seen_ - losses_reported_;
  losses_reported_ = losses_seen_;
  ProcessSummary process;
  process.pid = identity.pid;
  process.started_ns = identity.start_realtime_ns;
  process.host = dictionary_text(header.host);
  process.engine = dictionary_text(header.engine);
  process.engine_reason = dictionary_text(header.engine_reason);
  process.dropped = losses_seen_;
  process.blocked = header.blocked.load(std::memory_order_relaxed);
  process.neighbour_traps = header.neighbour_traps.load(std::memory_order_relaxed);
  process.single_steps = header.single_steps.load(std::memory_order_relaxed);
  process.dictionary_refused = ring_.reader.dictionary().header()->refused.load(std::memory_order_relaxed);
  process.regions_refused = header.regions_refused.load(std::memory_order_relaxed);
  process.contexts_cut = header.contexts_cut.load(std::memory_order_relaxed);
  process.buffered = ring_.reader.waiting();
  process.unfinished = ring_.reader.skipped();
  tools_->summary->add_process(process);
}

void RingDrain::confirm_closed() {
  std::atomic<RingState>& state = ring_.reader.header()->state;
  confirmed_ = true;
  state_ = State::kLive;
  // Partner: the exiting writer's wait on this word.
  state.store(RingState::kClosed, std::memory_order_release);
  raw_syscall(SYS_futex, &state, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void RingDrain::disown() {
  ring_.reader.header()->collector_pid.store(0, std::memory_order_relaxed);
}

}  // namespace watcher
