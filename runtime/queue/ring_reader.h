// The collector's view of a ring file: takes events out in order, frees their room, knows whether the writer lives.
//
// A ring file is input from outside: it may be damaged, or written by a hostile process of the same user. Everything
// that bounds an access is checked against the size of the file and kept in this object, never read again.
// One thread. Several readers of one file exclude each other by RingLock::kCollector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/base/scoped_mmap.h"
#include "runtime/base/unique_fd.h"
#include "runtime/queue/event_ring.h"
#include "runtime/queue/writer_life.h"

namespace watcher {

/// An event still in the ring. Valid until RingReader::release (drop-oldest rings: until the next take).
struct RingEvent {
  std::uint64_t ticket = 0;
  const EventHead* head = nullptr;
  std::span<const std::byte> payload;  // checked against the claim; `head->payload_bytes` is not to be used
};

/// What the writer said about itself when it made the ring.
struct RingIdentity {
  std::uint32_t pid = 0;
  std::uint64_t run_id = 0;
  std::uint64_t start_tsc = 0;
  std::uint64_t start_realtime_ns = 0;
  Clock clock = Clock::kTsc;
  OnFull on_full = OnFull::kBlock;
};

class RingReader {
 public:
  /// Takes over the descriptor (opened for reading and writing) and maps the file.
  static Result<RingReader> open(UniqueFd file);

  enum class Taken { kEvent, kEmpty, kPending };

  /// The next event in ring order. kPending: claimed by a living writer, not committed yet. With `writer_is_dead` such
  /// slots are stepped over, up to the next committed event, and counted in skipped().
  Taken take(bool writer_is_dead, RingEvent* event);
  /// How far the ring was read at some moment.
  struct Mark {
    std::uint64_t position = 0;
    std::uint64_t events = 0;
  };
  Mark mark() const { return {next_, taken_}; }
  /// The room of the events taken up to then, or so far, may be used again; wakes writers that wait for it.
  void release(const Mark& mark);
  void release() { release(mark()); }

  /// The file was cut shorter behind our back: touching the mapping would be a SIGBUS.
  bool intact() const;
  bool writer_alive() const { return life_.alive(file_.get(), header_->handler_pid.load(std::memory_order_relaxed)); }
  /// See WriterLife.
  bool writer_lingers() const { return life_.lingers(file_.get()); }
  bool writer_ending() const { return life_.ending(file_.get(), header_->handler_pid.load(std::memory_order_relaxed)); }

  const RingIdentity& identity() const { return identity_; }
  const Dictionary& dictionary() const { return dictionary_; }
  RingHeader* header() const { return header_; }
  int fd() const { return file_.get(); }
  /// Slots that held no event: claimed and never committed, or damaged.
  std::uint64_t skipped() const { return skipped_; }
  std::uint64_t position() const { return next_; }
  /// Events in the ring that were not taken yet, at about this moment.
  std::uint64_t waiting() const;
  /// Slots of these and of unfinished ones; whatever a damaged file says.
  std::uint64_t waiting_slots() const { return header_->head.load(std::memory_order_relaxed) - next_; }

 private:
  RingReader(UniqueFd file, ScopedMmap mapping, const RingHeader& header);

  /// Slots of the event at `next_` that this commit word announces, 0 when it does not.
  std::uint32_t committed_slots(std::uint64_t word, std::uint64_t head) const;
  bool resynchronise(std::uint64_t head);
  void count_unwritten();
  bool take_for_good(std::uint32_t slots, RingEvent* event);
  EventHead* slot(std::uint64_t ticket) const;

  UniqueFd file_;
  ScopedMmap mapping_;
  RingHeader* header_;
  EventHead* slots_;
  std::uint64_t slot_count_;
  std::uint64_t file_bytes_;
  RingIdentity identity_;
  Dictionary dictionary_;
  WriterLife life_;
  std::uint64_t next_ = 0;
  std::uint64_t skipped_ = 0;
  std::uint64_t taken_ = 0;
  std::uint64_t released_ = 0;       // of these
  std::vector<std::uint64_t> copy_;  // of one event, for drop-oldest rings
};

}  // namespace watcher
