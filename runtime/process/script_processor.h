// A user's processor in its worker: events in batches, an answer each, and a clock for each.
//
// The worker answers an event before it begins the next one, so the first event without an answer is the one it is busy
// with. That event fails when it takes too long or the worker dies; the others go to a new worker.
#pragma once

#include <memory>
#include <string>

#include "config/processor_spec.h"
#include "runtime/base/result.h"
#include "runtime/process/processor_stage.h"
#include "runtime/process/worker_process.h"

namespace watcher {

class ScriptProcessor final : public ProcessorStage {
 public:
  /// A command that is an error is told by start().
  ScriptProcessor(const ProcessorSpec& spec, Result<WorkerCommand> command, bool shows_output);
  ~ScriptProcessor() override { end(); }

  /// Starts the worker, and waits until it has loaded the processor. The error says what is wrong with that.
  Result<void> start(const std::atomic<bool>& stop);

  bool process(std::span<ChainEvent> events, const std::atomic<bool>& stop) override;
  void idle() override { drain_output(); }
  /// The worker may finish what it does at its exit; it would die with the thread that started it.
  void end() override;

 private:
  /// The clock of an event. Time in which we did not look does not count, and a worker that had next to no processor
  /// time on a busy machine gets more.
  class Patience {
   public:
    void restart();
    /// True when the worker had as long as `limit_ns`.
    bool is_over(std::uint64_t limit_ns, const WorkerProcess& worker);

   private:
    std::uint64_t seen_ns_ = 0;
    std::uint64_t attended_ns_ = 0;
    std::uint64_t begun_ns_ = 0;
    std::uint64_t ran_before_ns_ = 0;
  };

  bool ensure_worker(const std::atomic<bool>& stop);
  Result<void> wait_until_ready(const std::atomic<bool>& stop);
  void queue_events(std::span<ChainEvent> events);
  void send();
  bool receive();
  void take_answers(std::span<ChainEvent> events);
  void apply(ChainEvent& event, std::string_view line);
  void wait(int milliseconds);
  void drain_output();
  void fail_current(std::span<ChainEvent> events, const std::string& why);

  const ProcessorSpec spec_;
  const Result<WorkerCommand> command_;
  const bool shows_output_;
  WorkerProcess worker_;
  bool was_started_ = false;
  bool ended_ = false;     // the worker has closed its end
  bool nonsense_ = false;  // what it says is no answer
  std::uint64_t next_start_ns_ = 0;

  std::size_t answered_ = 0;  // of the events of this call
  std::string outgoing_;
  std::size_t sent_ = 0;
  std::string incoming_;
  Patience patience_;
};

}  // namespace watcher
