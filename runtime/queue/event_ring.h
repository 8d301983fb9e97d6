// The queue between capture and collector: a bounded multi-producer ring of 64-byte slots in a shared file mapping.
// What a producer committed is in the file whatever happens to the process afterwards.
//
// File layout (all in one mapping): RingHeader | DictionaryHeader | dictionary heap | slots | the slots once more
// (a second mapping of the same pages, so that no event is ever split by the ring's end).
//
// Protocol. `head` and `tail` count slots since the start and never wrap. A producer moves `head` by compare-exchange
// (only when the ring has room, so a claim is never held while waiting), fills its slots, and publishes the first
// slot's `state` with release: commit_word(ticket, slots). The ticket in the word makes a slot of an earlier lap, or
// one whose producer died before its commit, recognisable without ever clearing a slot. The reader takes `state` with
// acquire and moves `tail` with release, which producers read with acquire before they reuse a slot.
//
// A full ring: `kBlock` waits for the reader, but not for ever (see wait_for_room). `kDropNewest` gives up the new
// event. `kDropOldest` moves `tail` itself over the oldest committed event; there the reader copies an event out and
// takes it by compare-exchange of `tail`, so that an event is either read or dropped, never both.
//
// Zone: claim and commit may run in a signal handler; no allocation, no lock. Waiting for room calls futex and
// nanosleep by raw system call.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/queue/dictionary.h"
#include "runtime/queue/event.h"
#include "runtime/queue/ring_header.h"

namespace watcher {

constexpr std::uint64_t commit_word(std::uint64_t ticket, std::uint32_t slots) {
  return (ticket + 1) << 16 | slots;
}

/// A claim on contiguous slots; `head` is null when the event was dropped (already counted),
/// or recording is paused.
struct Claim {
  EventHead* head = nullptr;
  std::uint64_t ticket = 0;
  std::uint32_t slots = 0;

  explicit operator bool() const { return head != nullptr; }
  std::byte* payload() const { return reinterpret_cast<std::byte*>(head + 1); }
  /// Publishes the event. Everything written to the slots before is visible to the reader that sees the word.
  void commit() const { head->state.store(commit_word(ticket, slots), std::memory_order_release); }
};

/// View of a mapped ring; borrowed memory, copyable, one address for the life of the process (also across fork).
class EventRing {
 public:
  EventRing() = default;
  explicit EventRing(std::byte* mapping);

  /// Claims room for one event with that much payload. Waits or drops by `on_full`; any thread, any context.
  Claim claim(std::uint32_t payload_bytes) {
    if (header_->paused.load(std::memory_order_relaxed) != 0) return {};  // no order: it counts from about now on
    const std::uint32_t slots = slots_for(payload_bytes);
    std::uint64_t ticket = header_->head.load(std::memory_order_relaxed);
    do {
      if (ticket + slots > header_->room_until.load(std::memory_order_acquire) && !sees_room(ticket, slots)) {
        if (!wait_for_room(slots)) return {};
        ticket = header_->head.load(std::memory_order_relaxed);
        continue;
      }
      if (header_->head.compare_exchange_weak(ticket, ticket + slots, std::memory_order_relaxed)) break;
    } while (true);
    EventHead* head = &slots_[ticket & mask_];
    head->payload_bytes = payload_bytes;
    return {head, ticket, slots};
  }

  /// A slot, where that takes no thought: null when recording is paused, or room has to be waited for.
  Claim claim_at_once() {
    RingHeader* const header = header_;
    std::uint64_t ticket = header->head.load(std::memory_order_relaxed);
    if (header->paused.load(std::memory_order_relaxed) != 0 ||
        ticket >= header->room_until.load(std::memory_order_acquire) ||
        !header->head.compare_exchange_strong(ticket, ticket + 1, std::memory_order_relaxed))
      return {};
    EventHead* head = &slots_[ticket & mask_];
    __asm__("prefetchw %0" ::"m"(head[8]));  // a store to a line that is not here holds up the next exchange
    head->payload_bytes = 0;
    return {head, ticket, 1};
  }

  EventHead* slot(std::uint64_t ticket) const { return &slots_[ticket & mask_]; }
  RingHeader* header() const { return header_; }
  const Dictionary& dictionary() const { return dictionary_; }
  Dictionary& dictionary() { return dictionary_; }
  explicit operator bool() const { return header_ != nullptr; }

  /// Events committed so far, at about this moment: counting them costs producers nothing. Not in signal handlers.
  std::uint64_t committed() const;

  /// Time for EventHead::tsc.
  std::uint64_t now() const { return header_->clock == Clock::kTsc ? __builtin_ia32_rdtsc() : realtime_ns(); }
  static std::uint64_t realtime_ns();

  /// Brings a collector back; asked when nothing moves and there is none. Set once by the session; may be null.
  using ReviveCollector = void (*)(RingHeader*);
  static inline constinit ReviveCollector revive_collector = nullptr;

 private:
  /// Looks where the reader is. Signed: with a stale ticket the tail may be beyond it; then the exchange fails.
  bool sees_room(std::uint64_t ticket, std::uint32_t slots) {
    const std::uint64_t until = header_->tail.load(std::memory_order_acquire) + mask_ + 1;
    header_->room_until.store(until, std::memory_order_release);
    return static_cast<std::int64_t>(ticket + slots - until) <= 0;
  }
  bool has_room(std::uint32_t slots, std::uint64_t tail) const;
  bool wait_for_room(std::uint32_t slots);
  bool wait_for_reader(std::uint32_t slots);
  bool drop_oldest(std::uint32_t slots);

  RingHeader* header_ = nullptr;
  EventHead* slots_ = nullptr;
  std::uint64_t mask_ = 0;
  Dictionary dictionary_;
};

}  // namespace watcher
