#include "runtime/queue/event_ring.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include "runtime/base/process_start.h"
#include "runtime/base/raw_syscall.h"

namespace watcher {
namespace {

constexpr long kSleepNs = 20'000'000;  // one sleep; short enough to notice a dead reader within 250 ms
constexpr int kSleepsBeforeRevival = 3;
constexpr int kPatience = 3000;
constexpr int kEarlyWakesPerSleep = 1000;
constexpr std::uint64_t kDropsBetweenAttempts = 4096;
constexpr int kCountAttempts = 16;

/// What of kPatience a sleep uses up during which the reader took nothing. One that would run if it had the CPU, or that
/// waits for a disk, comes back: it is waited for a minute, but only once. One that sleeps or is stopped gets 2 s, one
/// that is gone 240 ms.
constexpr int price_of_sleep(char reader_state, bool again) {
  if (reader_state == 0) return 250;
  return !again && (reader_state == 'R' || reader_state == 'D') ? 1 : 30;
}

}  // namespace

EventRing::EventRing(std::byte* mapping)
    : header_(reinterpret_cast<RingHeader*>(mapping)),
      slots_(reinterpret_cast<EventHead*>(mapping + header_->slots_offset)),
      mask_(header_->slot_count - 1),
      dictionary_(reinterpret_cast<DictionaryHeader*>(mapping + header_->dictionary_offset), header_->heap_bytes) {}

std::uint64_t EventRing::realtime_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

bool EventRing::has_room(std::uint32_t slots, std::uint64_t tail) const {
  return header_->head.load(std::memory_order_relaxed) + slots - tail <= mask_ + 1;
}

bool EventRing::wait_for_room(std::uint32_t slots) {
  const bool never_fits = slots > mask_ + 1;
  bool room = false;
  if (!never_fits && header_->on_full == OnFull::kBlock) room = wait_for_reader(slots);
  if (!never_fits && header_->on_full == OnFull::kDropOldest) room = drop_oldest(slots);
  if (!room) header_->dropped.fetch_add(1, std::memory_order_relaxed);
  return room;
}

// What readers took, and what lies in the ring; once more when a reader moved meanwhile.
std::uint64_t EventRing::committed() const {
  std::uint64_t events = 0;
  for (int attempt = 0; attempt < kCountAttempts; ++attempt) {
    const std::uint64_t taken = header_->taken.load(std::memory_order_acquire);
    const std::uint64_t head = header_->head.load(std::memory_order_acquire);
    events = taken;
    for (std::uint64_t ticket = header_->tail.load(std::memory_order_acquire); ticket < head;) {
      const std::uint64_t word = slot(ticket)->state.load(std::memory_order_acquire);
      const auto slots = static_cast<std::uint32_t>(word & 0xffff);
      if (slots == 0 || word != commit_word(ticket, slots)) break;
      events += slot(ticket)->op != Op::kCount;
      ticket += slots;
    }
    if (header_->taken.load(std::memory_order_acquire) == taken) break;
  }
  return events;
}

// A ring whose reader is gone for good must not hang the host: when nothing moved for a while the event is dropped, and
// so is every further one at once, until the reader moves `tail` again (or it is time for another attempt).
bool EventRing::wait_for_reader(std::uint32_t slots) {
  std::uint64_t tail = header_->tail.load(std::memory_order_acquire);
  const bool again = header_->given_up.load(std::memory_order_relaxed) == tail + 1;
  if (again && header_->dropped.load(std::memory_order_relaxed) % kDropsBetweenAttempts != 0)
    return has_room(slots, tail);
  header_->blocked.fetch_add(1, std::memory_order_relaxed);
  int early_wakes = 0;
  for (int sleeps = 0, patience = kPatience; patience > 0;) {
    const std::uint32_t ticket = header_->room_futex.load(std::memory_order_acquire);
    // Sequentially consistent with the reader's store of `tail` and load of `waiting`: either it sees us waiting, or we
    // see its new tail.
    header_->waiting.fetch_add(1, std::memory_order_seq_cst);
    const std::uint64_t now_at = header_->tail.load(std::memory_order_seq_cst);
    const bool room = has_room(slots, now_at);
    long slept = 0;
    if (!room) {
      const timespec patience{0, kSleepNs};
      slept = raw_syscall(SYS_futex, &header_->room_futex, FUTEX_WAIT, ticket, &patience, nullptr, 0);
    }
    header_->waiting.fetch_sub(1, std::memory_order_seq_cst);
    if (room) return true;
    if (now_at != tail) {
      sleeps = 0;
      patience = kPatience;
    }
    tail = now_at;
    // A reader held up by a claim in the making wakes us without moving: such a wake is no sleep.
    if (slept != -ETIMEDOUT && ++early_wakes % kEarlyWakesPerSleep != 0) continue;
    const char reader = process_state(header_->collector_pid.load(std::memory_order_relaxed));
    patience -= price_of_sleep(reader, again);
    if (++sleeps == kSleepsBeforeRevival && reader == 0 && revive_collector != nullptr) revive_collector(header_);
  }
  header_->given_up.store(tail + 1, std::memory_order_relaxed);
  return false;
}

bool EventRing::drop_oldest(std::uint32_t slots) {
  std::uint64_t tail = header_->tail.load(std::memory_order_acquire);
  while (!has_room(slots, tail)) {
    const std::uint64_t word = slot(tail)->state.load(std::memory_order_acquire);
    const auto oldest = static_cast<std::uint32_t>(word & 0xffff);
    if (oldest == 0 || word != commit_word(tail, oldest)) {
      const std::uint64_t now_at = header_->tail.load(std::memory_order_acquire);
      if (now_at == tail) return false;  // its producer is still writing it: the new event goes
      tail = now_at;
      continue;
    }
    // Partner: the reader's compare-exchange of `tail` in RingReader; whoever wins has the event.
    if (!header_->tail.compare_exchange_strong(tail, tail + oldest, std::memory_order_acq_rel)) continue;
    header_->dropped.fetch_add(1, std::memory_order_relaxed);
    tail += oldest;
  }
  return true;
}

}  // namespace watcher
