// Some events of one ring on their way to lines. Taken and written in the ring's order by the collector's thread; what
// lies between, decoding to rendering, is done by any one thread, for it depends on no other event.
//
// Where it does, by a variable's limit a second or a processor that keeps count, the batch waits for its turn.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/collect/recording_rules.h"
#include "runtime/enrich/clock.h"
#include "runtime/enrich/native_symbols.h"
#include "runtime/output/json/event_json.h"
#include "runtime/process/processor_chain.h"
#include "runtime/process/redaction.h"
#include "runtime/process/variable_filter.h"
#include "runtime/queue/ring_reader.h"

namespace watcher {

class EventBatch {
 public:
  /// What the batches of a collector share.
  struct Tools {
    RecordingRules rules;
    Options options;
    EventClock clock;
    NativeSymbols* symbols = nullptr;
    ProcessorChain* chain = nullptr;  // null: no processors
  };
  struct Line {
    std::uint64_t ticket;
    std::uint64_t variable_id;
    std::string_view variable_name;  // in the ring
    std::uint64_t coalesced;
    std::uint32_t bytes;
  };

  /// Both are borrowed.
  EventBatch(const RingReader& ring, const Tools& tools);
  EventBatch(const EventBatch&) = delete;
  EventBatch& operator=(const EventBatch&) = delete;

  /// Takes the next events, at most so many, in place of what is in here. False: there are no more for now.
  bool take(RingReader* ring, bool writer_is_dead, std::size_t most);
  /// It may only be rendered when all events before it were, with the ring's filter.
  bool in_turn() const { return in_turn_; }
  void render(VariableFilter* in_turn = nullptr);

  std::string_view text() const { return text_.text(); }
  const std::vector<Line>& lines() const { return lines_; }
  /// How far the ring is read, with this batch.
  const RingReader::Mark& end() const { return end_; }
  std::uint64_t failed() const { return failed_; }  // events that made no sense
  std::uint64_t filtered() const { return filtered_; }
  std::uint64_t redacted() const { return redacted_; }
  /// Says in the line of the first event from `ticket` on how many were lost before it. False: there is none.
  bool tell_dropped(std::uint64_t ticket, std::uint64_t dropped);

 private:
  bool needs_turn(const RingEvent& event);
  void keep_copy(const RingEvent& event);
  void refer_to_copies();
  void render(const RingEvent& event, VariableFilter& filter);
  void clear();

  const RingReader& ring_;
  const Tools& tools_;
  VariableFilter filter_;
  Redaction redaction_;
  EventJson json_;
  EventClock clock_;  // as it was when the events were taken

  std::vector<RingEvent> events_;
  std::vector<std::uint64_t> copies_;
  RingReader::Mark end_;
  bool in_turn_ = false;
  DictionaryRef last_variable_ = 0;

  EventView event_;
  Delta delta_;
  JsonBuffer text_;
  std::vector<Line> lines_;  // one a line of `text_`
  std::uint64_t failed_ = 0;
  std::uint64_t filtered_ = 0;
  std::uint64_t redacted_ = 0;
};

}  // namespace watcher
