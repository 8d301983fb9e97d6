// The processors that need no process: 'filter', 'logging' and 'noop'. They look at an event and keep or drop it;
// before the first worker they do so on its way out of the ring, behind one they look at its line.
//
// One thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "config/processor_spec.h"
#include "runtime/base/result.h"
#include "runtime/base/unique_fd.h"
#include "runtime/process/event_facts.h"
#include "runtime/process/processor_stage.h"

namespace watcher {

class BuiltinProcessor : public ProcessorStage {
 public:
  /// `directory_fd` is where a log without a path goes.
  static Result<std::unique_ptr<BuiltinProcessor>> make(const ProcessorSpec& spec, int directory_fd);

  /// Counts, too.
  bool keeps(const EventFacts& facts);
  bool process(std::span<ChainEvent> events, const std::atomic<bool>& stop) override;

 protected:
  using ProcessorStage::ProcessorStage;
  virtual bool decide(const EventFacts& facts) = 0;
};

class FilterProcessor final : public BuiltinProcessor {
 public:
  explicit FilterProcessor(const FilterSpec& spec);

 private:
  bool decide(const EventFacts& facts) override;
  bool fits(const EventFacts& facts) const;
  bool is_repetition(const EventFacts& facts);
  bool within_rate(const EventFacts& facts);

  struct Variable {
    std::uint64_t last_hash = 0;
    std::uint64_t last_ns = 0;
    std::uint64_t second = 0;
    std::uint32_t events = 0;
  };

  FilterSpec spec_;
  std::optional<Condition> when_;
  std::unordered_map<std::uint64_t, Variable> variables_;
};

/// One line of text an event, for reading along.
class LoggingProcessor final : public BuiltinProcessor {
 public:
  explicit LoggingProcessor(UniqueFd file) : BuiltinProcessor("logging"), file_(std::move(file)) {}
  ~LoggingProcessor() override { write_out(); }
  void idle() override { write_out(); }

 private:
  bool decide(const EventFacts& facts) override;
  void write_out();

  UniqueFd file_;
  std::string text_;
};

}  // namespace watcher
