// One claimed ring on its way into the output: events decoded, compared, rendered, appended, and only then released.
//
// One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/collect/handler_watchdog.h"
#include "runtime/collect/recording_rules.h"
#include "runtime/collect/ring_directory.h"
#include "runtime/enrich/clock.h"
#include "runtime/enrich/native_symbols.h"
#include "runtime/output/event_json.h"
#include "runtime/output/summary.h"
#include "runtime/process/processor_chain.h"
#include "runtime/process/redaction.h"
#include "runtime/process/variable_filter.h"

namespace watcher {

/// What the rings of a collector share.
struct DrainTools {
  RecordingRules rules;
  Options options;
  EventClock clock;
  NativeSymbols* symbols = nullptr;
  JsonlSink* sink = nullptr;
  Summary* summary = nullptr;
  ProcessorChain* chain = nullptr;  // null: no processors
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
  bool take_and_render(bool writer_is_dead);
  void render(const RingEvent& event);
  std::uint64_t flush();
  std::uint64_t hand_to_processors();
  std::uint64_t losses_before(std::uint64_t ticket);
  void notice_losses();
  std::string dictionary_text(DictionaryRef ref) const;

  FoundRing ring_;
  DrainTools* tools_;
  VariableFilter filter_;
  Redaction redaction_;
  EventJson json_;
  HandlerWatchdog watchdog_;
  State state_ = State::kLive;
  bool confirmed_ = false;

  JsonBuffer lines_;
  EventView event_;
  Delta delta_;
  VariableCount* variable_ = nullptr;  // of the previous event
  std::uint64_t variable_id_ = 0;
  struct Pending {
    VariableCount* variable;
    std::uint64_t coalesced;
    std::uint64_t variable_id;
    std::uint32_t bytes;
  };
  std::vector<Pending> pending_;  // one a line of `lines_`

  std::uint64_t unwritten_ = 0;        // lines the sink could not take, events that made no sense
  std::uint64_t losses_seen_ = 0;      // in the ring and in the sink, up to the last look
  std::uint64_t losses_told_ = 0;      // by "dropped_before"
  std::uint64_t losses_reported_ = 0;  // to the summary
  std::uint64_t losses_ticket_ = 0;    // the first event that came after them, at the latest
};

}  // namespace watcher
