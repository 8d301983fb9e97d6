// One claimed ring on its way into the output: events taken, rendered, by several threads when there are many, appended
// in order, and only then released.
//
// One thread, the collector's.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "runtime/collect/enrich_workers.h"
#include "runtime/collect/event_batch.h"
#include "runtime/collect/handler_watchdog.h"
#include "runtime/collect/ring_directory.h"
#include "runtime/output/journal/jsonl_sink.h"
#include "runtime/output/summary.h"

namespace watcher {

/// What the rings of a collector share.
struct DrainTools : EventBatch::Tools {
  JsonlSink* sink = nullptr;
  Summary* summary = nullptr;
  EnrichWorkers* workers = nullptr;  // null: none
  std::uint64_t run_id = 0;
};

class RingDrain {
 public:
  enum class State {
    kLive,     // more may come
    kClosing,  // empty, and the writer waits to be told that all is on disk
    kDead      // empty for good
  };

  RingDrain(FoundRing ring, DrainTools* tools);

  /// Writes what is in the ring, up to a bound that lets other rings have their turn. Returns events written.
  std::uint64_t drain();
  State state() const { return state_; }
  bool writer_alive() const { return ring_.reader.writer_alive(); }
  bool writer_lingers() const { return ring_.reader.writer_lingers(); }
  bool writer_ending() const { return ring_.reader.writer_ending(); }
  /// Adds this ring's process and losses to the summary; again when something changed since.
  void report();
  /// Tells the waiting writer.
  void confirm_closed();
  /// Nobody collects this ring any more.
  void disown();

  const FoundRing& ring() const { return ring_; }

 private:
  EventBatch& batch(std::size_t number);
  std::size_t batches_worth_while() const;
  std::uint64_t finish(EventBatch& batch, bool is_shared);
  std::uint64_t append(const EventBatch& batch);
  std::uint64_t hand_to_processors(const EventBatch& batch);
  VariableCount* variable_of(const EventBatch::Line& line);
  void count_written(const EventBatch& batch, std::uint64_t written);
  void tell_losses(EventBatch& batch);
  void notice_losses();
  bool is_ours() const { return ring_.reader.identity().run_id == tools_->run_id; }
  std::string dictionary_text(DictionaryRef ref) const;

  FoundRing ring_;
  DrainTools* tools_;
  VariableFilter filter_;  // of batches that wait for their turn
  HandlerWatchdog watchdog_;
  State state_ = State::kLive;
  bool confirmed_ = false;
  std::deque<EventBatch> batches_;  // more than one only while there is much to do

  VariableCount* variable_ = nullptr;  // of the previous event
  std::uint64_t variable_id_ = 0;

  std::uint64_t unwritten_ = 0;        // lines the sink could not take, events that made no sense
  std::uint64_t losses_seen_ = 0;      // in the ring and in the sink, up to the last look
  std::uint64_t losses_told_ = 0;      // by "dropped_before"
  std::uint64_t losses_reported_ = 0;  // to the summary
  std::uint64_t losses_ticket_ = 0;    // the first event that came after them, at the latest
};

}  // namespace watcher
