#include "runtime/collect/ring_drain.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"

namespace watcher {
namespace {

constexpr std::size_t kFlushBytes = 256 * 1024;
constexpr int kEventsPerTurn = 32768;

}  // namespace

RingDrain::RingDrain(FoundRing ring, DrainTools* tools)
    : ring_(std::move(ring)),
      tools_(tools),
      redaction_(tools->options),
      json_(ring_.reader.identity(), tools->rules.deltas) {}

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
  std::uint64_t written = 0;
  bool more = true;
  for (int count = 0; more && count < kEventsPerTurn; ++count) {
    more = take_and_render(dead);
    if (lines_.GetSize() >= kFlushBytes) written += flush();
  }
  written += flush();
  if (!more) state_ = dead ? State::kDead : closing && !confirmed_ ? State::kClosing : State::kLive;
  return written;
}

bool RingDrain::take_and_render(bool writer_is_dead) {
  RingEvent event;
  if (ring_.reader.take(writer_is_dead, &event) != RingReader::Taken::kEvent) return false;
  render(event);
  return true;
}

void RingDrain::render(const RingEvent& event) {
  if (event.head->op == Op::kCount) return;  // a claim given up: the store it was made for did not happen
  const RingIdentity& identity = ring_.reader.identity();
  if (!decode(event, ring_.reader.dictionary(), &event_)) {
    ++unwritten_;
    return;
  }
  compare(event_, &delta_);
  if (tools_->rules.leaves_out(event_, delta_)) return;
  const ClockPair start{identity.start_tsc, identity.start_realtime_ns};
  const std::uint64_t timestamp_ns =
      identity.clock == Clock::kTsc ? tools_->clock.realtime_ns(event_.tsc, start) : event_.tsc;
  tools_->symbols->add_to(identity.pid, &event_);
  if (!filter_.keeps(event_, ring_.reader.dictionary(), timestamp_ns)) {
    if (identity.run_id == tools_->run_id) ++tools_->summary->news().filtered;
    return;
  }
  if (redaction_.apply(&event_, &delta_) && identity.run_id == tools_->run_id) ++tools_->summary->news().redacted;
  if (tools_->chain != nullptr && !tools_->chain->keeps(event_, delta_, timestamp_ns)) return;
  const std::size_t line_start = lines_.GetSize();
  json_.append(event_, &delta_, timestamp_ns, losses_before(event_.ticket), &lines_);
  if (variable_ == nullptr || variable_id_ != event_.variable_id) {
    variable_ = tools_->summary->variable(event_.variable_id, event_.variable_name);
    variable_id_ = event_.variable_id;
  }
  pending_.push_back(
      {variable_, event_.coalesced, event_.variable_id, static_cast<std::uint32_t>(lines_.GetSize() - line_start)});
}

// The lines first, the room second: a collector that is killed in between leaves events to be written twice (with the
// same id), never lost.
std::uint64_t RingDrain::flush() {
  std::uint64_t written = 0;
  if (tools_->chain != nullptr && tools_->chain->has_workers()) {
    written = hand_to_processors();
  } else if (!pending_.empty()) {
    const std::uint64_t lost = tools_->sink->append({lines_.GetString(), lines_.GetSize()});
    written = pending_.size() - lost;
    unwritten_ += lost;
    const bool ours = ring_.reader.identity().run_id == tools_->run_id;
    RunTotals& news = tools_->summary->news();
    (ours ? news.written : news.recovered) += written;
    for (std::uint64_t i = 0; ours && i < written; ++i) {
      ++pending_[i].variable->events;
      news.coalesced += pending_[i].coalesced;
    }
    pending_.clear();
    lines_.Clear();
    notice_losses();
  }
  ring_.reader.release();
  return written;
}

/// What is behind them writes and counts.
std::uint64_t RingDrain::hand_to_processors() {
  if (pending_.empty()) return 0;
  EventChunk chunk{
      .run_id = ring_.reader.identity().run_id, .infos = {}, .text = {lines_.GetString(), lines_.GetSize()}};
  for (const Pending& event : pending_)
    chunk.infos.push_back({.variable_id = event.variable_id, .coalesced = event.coalesced, .bytes = event.bytes});
  const std::uint64_t events = pending_.size();
  unwritten_ += tools_->chain->submit(&chunk);
  pending_.clear();
  lines_.Clear();
  notice_losses();
  return events;
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

std::uint64_t RingDrain::losses_before(std::uint64_t ticket) {
  if (losses_seen_ == losses_told_ || ticket < losses_ticket_) return 0;
  const std::uint64_t untold = losses_seen_ - losses_told_;
  losses_told_ = losses_seen_;
  return untold;
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
