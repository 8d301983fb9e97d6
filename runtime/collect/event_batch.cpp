#include "runtime/collect/event_batch.h"

#include <cstring>

namespace watcher {
namespace {

constexpr std::uint64_t kMostSlots = 2048;  // of a batch, but for its last event

std::size_t words_of(const RingEvent& event) {
  return (sizeof(EventHead) + event.payload.size() + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t);
}

}  // namespace

EventBatch::EventBatch(const RingReader& ring, const Tools& tools)
    : ring_(ring),
      tools_(tools),
      redaction_(tools.options),
      json_(ring.identity(), tools.rules.deltas),
      clock_(tools.clock) {}

bool EventBatch::needs_turn(const RingEvent& event) {
  if (event.head->variable == last_variable_) return false;
  last_variable_ = event.head->variable;
  return filter_.is_limited(last_variable_, ring_.dictionary());
}

/// A drop-oldest ring gives what is valid until the next event is taken.
void EventBatch::keep_copy(const RingEvent& event) {
  const std::size_t at = copies_.size();
  copies_.resize(at + words_of(event));
  std::memcpy(&copies_[at], static_cast<const void*>(event.head), sizeof(EventHead) + event.payload.size());
}

void EventBatch::refer_to_copies() {
  const std::uint64_t* at = copies_.data();
  for (RingEvent& event : events_) {
    event.head = reinterpret_cast<const EventHead*>(at);
    event.payload = {reinterpret_cast<const std::byte*>(event.head + 1), event.payload.size()};
    at += words_of(event);
  }
}

bool EventBatch::take(RingReader* ring, bool writer_is_dead, std::size_t most) {
  clear();
  clock_ = tools_.clock;
  in_turn_ = tools_.chain != nullptr && tools_.chain->has_fronts();
  last_variable_ = 0;
  const bool is_lent = ring->identity().on_full == OnFull::kDropOldest;
  const std::uint64_t begin = ring->position();
  bool more = true;
  RingEvent event;
  while (events_.size() < most && ring->position() - begin < kMostSlots) {
    more = ring->take(writer_is_dead, &event) == RingReader::Taken::kEvent;
    if (!more) break;
    in_turn_ = in_turn_ || needs_turn(event);
    if (is_lent) keep_copy(event);
    events_.push_back(event);
  }
  if (is_lent) refer_to_copies();
  end_ = ring->mark();
  return more;
}

void EventBatch::render(VariableFilter* in_turn) {
  VariableFilter& filter = in_turn != nullptr ? *in_turn : filter_;
  for (const RingEvent& event : events_) render(event, filter);
}

void EventBatch::render(const RingEvent& event, VariableFilter& filter) {
  if (event.head->op == Op::kCount) return;  // a claim given up: the store it was made for did not happen
  const RingIdentity& identity = ring_.identity();
  if (!decode(event, ring_.dictionary(), &event_)) {
    ++failed_;
    return;
  }
  compare(event_, &delta_);
  if (tools_.rules.leaves_out(event_, delta_)) return;
  const ClockPair start{identity.start_tsc, identity.start_realtime_ns};
  const std::uint64_t timestamp_ns = identity.clock == Clock::kTsc ? clock_.realtime_ns(event_.tsc, start) : event_.tsc;
  tools_.symbols->add_to(identity.pid, &event_);
  if (!filter.keeps(event_, ring_.dictionary(), timestamp_ns)) {
    ++filtered_;
    return;
  }
  if (redaction_.apply(&event_, &delta_)) ++redacted_;
  if (tools_.chain != nullptr && !tools_.chain->keeps(event_, delta_, timestamp_ns)) return;
  const std::size_t line_start = text_.size();
  json_.append(event_, &delta_, timestamp_ns, &text_);
  lines_.push_back({event_.ticket, event_.variable_id, event_.variable_name, event_.coalesced,
                    static_cast<std::uint32_t>(text_.size() - line_start)});
}

bool EventBatch::tell_dropped(std::uint64_t ticket, std::uint64_t dropped) {
  std::size_t end = 0;
  for (Line& line : lines_) {
    end += line.bytes;
    if (line.ticket < ticket) continue;
    line.bytes += static_cast<std::uint32_t>(EventJson::tell_dropped(end, dropped, &text_));
    return true;
  }
  return false;
}

void EventBatch::clear() {
  events_.clear();
  copies_.clear();
  text_.clear();
  lines_.clear();
  failed_ = filtered_ = redacted_ = 0;
}

}  // namespace watcher
