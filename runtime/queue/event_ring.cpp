#include "runtime/queue/event_ring.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include "runtime/base/raw_syscall.h"

namespace watcher {
namespace {

constexpr long kPatienceNs = 20'000'000;  // one sleep; short enough to notice a dead collector within 250 ms
constexpr int kPatienceRounds = 12;

}  // namespace

EventRing::EventRing(std::byte* mapping)
    : header_(reinterpret_cast<RingHeader*>(mapping)),
      slots_(reinterpret_cast<EventHead*>(mapping + header_->slots_offset)),
      mask_(header_->slot_count - 1),
      dictionary_(reinterpret_cast<DictionaryHeader*>(mapping + header_->dictionary_offset),
                  mapping + header_->dictionary_offset + sizeof(DictionaryHeader)) {}

std::uint64_t EventRing::realtime_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

// Blocks until there is room. A ring whose reader is gone for good must not hang the host: after kPatienceRounds sleeps
// without any progress the event is dropped and counted, and the next writer tries again.
bool EventRing::wait_for_room(std::uint32_t slots) {
  const bool never_fits = slots > mask_ + 1;
  if (header_->on_full == OnFull::kDropNewest || never_fits) {
    header_->dropped.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  header_->blocked.fetch_add(1, std::memory_order_relaxed);
  std::uint64_t seen_tail = header_->tail.load(std::memory_order_acquire);
  for (int round = 0; round < kPatienceRounds;) {
    const std::uint32_t ticket = header_->room_futex.load(std::memory_order_acquire);
    header_->waiting.fetch_add(1, std::memory_order_seq_cst);
    const std::uint64_t tail = header_->tail.load(std::memory_order_seq_cst);
    const bool room = header_->head.load(std::memory_order_relaxed) + slots - tail <= mask_ + 1;
    if (!room) {
      const timespec patience{0, kPatienceNs};
      raw_syscall(SYS_futex, &header_->room_futex, FUTEX_WAIT, ticket, &patience, nullptr, 0);
    }
    header_->waiting.fetch_sub(1, std::memory_order_seq_cst);
    if (room) return true;
    if (tail != seen_tail) {
      seen_tail = tail;
      round = 0;
      continue;
    }
    if (++round == 3 && revive_collector != nullptr) revive_collector(header_);
  }
  header_->dropped.fetch_add(1, std::memory_order_relaxed);
  return false;
}

}  // namespace watcher
