#include "runtime/queue/ring_reader.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "runtime/base/raw_syscall.h"
#include "runtime/queue/ring_layout.h"

namespace watcher {
namespace {

Error damaged(const char* what) {
  return {EINVAL, std::string("ring file: ") + what};
}
Error failed(const char* step) {
  return {errno, std::string("ring file: ") + step + ": " + strerror(errno)};
}

bool consistent(const RingHeader& header, const RingLayout& layout) {
  return layout.valid() && header.dictionary_offset == RingLayout::dictionary_offset() &&
         header.slots_offset == layout.slots_offset() && header.file_bytes == layout.file_bytes();
}

ScopedMmap map_twice(int fd, const RingLayout& layout) {
  void* address =
      ::mmap(nullptr, layout.mapping_bytes(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return {};
  ScopedMmap mapping(address, layout.mapping_bytes());
  constexpr int kAccess = PROT_READ | PROT_WRITE;
  constexpr int kKind = MAP_SHARED | MAP_FIXED;
  if (::mmap(address, layout.file_bytes(), kAccess, kKind, fd, 0) == MAP_FAILED) return {};
  if (::mmap(mapping.bytes() + layout.file_bytes(), layout.slots_bytes(), kAccess, kKind, fd,
             static_cast<off_t>(layout.slots_offset())) == MAP_FAILED)
    return {};
  return mapping;
}

}  // namespace

Result<RingReader> RingReader::open(UniqueFd file) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return failed("fstat");
  if (!S_ISREG(status.st_mode)) return damaged("not a regular file");
  RingHeader header{};
  const ssize_t got = ::pread(file.get(), &header, sizeof header, 0);
  if (got < 0) return failed("read");
  if (got != static_cast<ssize_t>(sizeof header)) return damaged("shorter than its header");
  if (header.magic != kRingMagic) return damaged("no ring file");
  if (header.version != kRingVersion) return damaged("made by another version of Watcher");
  const RingLayout layout{header.slot_count, header.heap_bytes};
  if (!consistent(header, layout)) return damaged("its header contradicts itself");
  if (static_cast<std::uint64_t>(status.st_size) < layout.file_bytes()) return damaged("cut short");
  ScopedMmap mapping = map_twice(file.get(), layout);
  if (!mapping) return failed("mmap");
  return RingReader(std::move(file), std::move(mapping), header);
}

RingReader::RingReader(UniqueFd file, ScopedMmap mapping, const RingHeader& header)
    : file_(std::move(file)),
      mapping_(std::move(mapping)),
      header_(reinterpret_cast<RingHeader*>(mapping_.bytes())),
      slots_(reinterpret_cast<EventHead*>(mapping_.bytes() + header.slots_offset)),
      slot_count_(header.slot_count),
      file_bytes_(header.file_bytes),
      identity_{.pid = header.pid,
                .run_id = header.run_id,
                .start_tsc = header.start_tsc,
                .start_realtime_ns = header.start_realtime_ns,
                .clock = header.clock,
                .on_full = header.on_full},
      dictionary_(reinterpret_cast<DictionaryHeader*>(mapping_.bytes() + header.dictionary_offset), header.heap_bytes),
      life_(header.pid, header.start_ticks, header.holds_lock != 0),
      next_(header_->tail.load(std::memory_order_acquire)) {
  count_unwritten();
}

// A reader that was killed had these in its hands: with `drop-oldest` an event leaves the ring when it is taken.
void RingReader::count_unwritten() {
  const std::uint64_t taken = header_->taken.load(std::memory_order_relaxed);
  const std::uint64_t copied = header_->copied_out.exchange(taken, std::memory_order_relaxed);
  if (identity_.on_full == OnFull::kDropOldest && copied > taken)
    header_->dropped.fetch_add(copied - taken, std::memory_order_relaxed);
}

// Whatever is committed, up to the first event that is still being written.
std::uint64_t RingReader::waiting() const {
  const std::uint64_t head = header_->head.load(std::memory_order_acquire);
  std::uint64_t events = 0;
  for (std::uint64_t ticket = next_; ticket < head && head - ticket <= slot_count_;) {
    const std::uint64_t word = slot(ticket)->state.load(std::memory_order_acquire);
    const auto slots = static_cast<std::uint32_t>(word & 0xffff);
    if (slots == 0 || word != commit_word(ticket, slots)) break;
    events += slot(ticket)->op != Op::kCount;
    ticket += slots;
  }
  return events;
}

EventHead* RingReader::slot(std::uint64_t ticket) const {
  return &slots_[ticket & (slot_count_ - 1)];
}

bool RingReader::intact() const {
  struct stat status {};
  return ::fstat(file_.get(), &status) == 0 && static_cast<std::uint64_t>(status.st_size) >= file_bytes_;
}

std::uint32_t RingReader::committed_slots(std::uint64_t word, std::uint64_t head) const {
  const auto slots = static_cast<std::uint32_t>(word & 0xffff);
  return slots != 0 && word == commit_word(next_, slots) && slots <= head - next_ ? slots : 0;
}

// `next_` must lie within one lap of `head`; drop-oldest writers move `tail` themselves, damaged files do anything.
bool RingReader::resynchronise(std::uint64_t head) {
  if (identity_.on_full == OnFull::kDropOldest) {
    const std::uint64_t tail = header_->tail.load(std::memory_order_acquire);
    if (tail > next_) next_ = tail;
  }
  if (head - next_ <= slot_count_) return head != next_;
  skipped_ += head > next_ ? head - next_ : 1;
  next_ = head;
  return false;
}

RingReader::Taken RingReader::take(bool writer_is_dead, RingEvent* event) {
  for (;;) {
    const std::uint64_t head = header_->head.load(std::memory_order_acquire);
    if (head == next_ || !resynchronise(head)) return Taken::kEmpty;
    // Partner of Claim::commit: whoever sees the word sees everything written to the event before.
    const std::uint64_t word = slot(next_)->state.load(std::memory_order_acquire);
    const std::uint32_t slots = committed_slots(word, head);
    if (slots == 0) {
      const bool uncommitted = word >> 16 != next_ + 1;
      if (uncommitted && !writer_is_dead) return Taken::kPending;
      ++next_;
      ++skipped_;
      continue;
    }
    const std::uint64_t room = std::uint64_t{slots - 1} * kSlotBytes;
    const EventHead* found = slot(next_);
    const std::uint32_t payload_bytes = found->payload_bytes;
    event->ticket = next_;
    event->head = found;
    event->payload = {reinterpret_cast<const std::byte*>(found + 1), payload_bytes <= room ? payload_bytes : 0};
    if (identity_.on_full == OnFull::kDropOldest) {
      if (!take_for_good(slots, event)) continue;
    }
    next_ += slots;
    taken_ += event->head->op != Op::kCount;
    return Taken::kEvent;
  }
}

// Copies first, then claims by moving `tail`; when a writer was faster the copy may be torn and is forgotten.
bool RingReader::take_for_good(std::uint32_t slots, RingEvent* event) {
  copy_.resize(std::size_t{slots} * kSlotBytes / sizeof(std::uint64_t));
  memcpy(copy_.data(), static_cast<const void*>(event->head), std::size_t{slots} * kSlotBytes);
  std::uint64_t expected = next_;
  // Partner: EventRing::drop_oldest.
  if (!header_->tail.compare_exchange_strong(expected, next_ + slots, std::memory_order_acq_rel)) return false;
  event->head = reinterpret_cast<const EventHead*>(copy_.data());
  if (event->head->op != Op::kCount) header_->copied_out.fetch_add(1, std::memory_order_relaxed);
  event->payload = {reinterpret_cast<const std::byte*>(event->head + 1), event->payload.size()};
  return true;
}

void RingReader::release(const Mark& mark) {
  // Before the tail: whoever counts looks whether this has changed meanwhile.
  header_->taken.fetch_add(mark.events - std::exchange(released_, mark.events), std::memory_order_acq_rel);
  if (identity_.on_full != OnFull::kDropOldest) {
    // Sequentially consistent with the writer's increment of `waiting` and its load of `tail`, see wait_for_reader.
    header_->tail.store(mark.position, std::memory_order_seq_cst);
  } else {
    std::uint64_t tail = header_->tail.load(std::memory_order_relaxed);
    while (tail < mark.position &&
           !header_->tail.compare_exchange_weak(tail, mark.position, std::memory_order_seq_cst)) {
    }
  }
  if (header_->waiting.load(std::memory_order_seq_cst) == 0) return;
  header_->room_futex.fetch_add(1, std::memory_order_release);
  raw_syscall(SYS_futex, &header_->room_futex, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace watcher
