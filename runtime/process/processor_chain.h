// All processors of a run, in order. The built-in ones before the first worker are asked while an event leaves its
// ring; from there on events lie in a spool and take their way on a thread of the chain's, so that the rings are
// drained, and the program goes on, however slow a processor is.
//
// One owner calls everything; the thread behind it touches the stages and what the mutex guards.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "config/options.h"
#include "runtime/base/result.h"
#include "runtime/process/builtin_processors.h"
#include "runtime/process/script_processor.h"
#include "runtime/process/spool.h"

namespace watcher {

/// Events that have gone through, as they are to be written.
struct ProcessedEvents {
  std::uint64_t run_id = 0;
  std::string text;
  std::vector<LineInfo> infos;  // one a line of `text`
  // where they came from
  Spool* spool = nullptr;
  Spool::Place place;
  std::uint64_t up_to = 0;  // of the chunk's events
  bool whole_chunk = false;
};

class ProcessorChain {
 public:
  /// Null when there are no processors.
  static Result<std::unique_ptr<ProcessorChain>> open(const Options& options, int directory_fd);
  ~ProcessorChain();

  /// Starts the workers, and waits until each can take events. Without it the first event starts them.
  Result<void> start_workers();

  /// Of the built-in processors at the front. They keep count: events are to be shown to them in order.
  bool has_fronts() const { return !fronts_.empty(); }
  bool keeps(const EventView& event, const Delta& delta, std::uint64_t timestamp_ns);
  /// Do events that are kept go to submit()?
  bool has_workers() const { return front_ < stages_.size(); }
  /// Takes the chunk's content; returns how many events were lost, because neither disk nor memory takes them.
  std::uint64_t submit(EventChunk* chunk);
  /// What another collector has left.
  void submit(std::unique_ptr<Spool> spool);

  /// What is ready, in order; nothing else is changed by it.
  std::vector<ProcessedEvents> take_processed();
  /// They are in the output.
  void note_written(const ProcessedEvents& events);
  /// Events that could not be read back.
  std::uint64_t take_lost() { return lost_.exchange(0); }

  std::uint64_t submitted() const { return submitted_; }
  std::uint64_t finished() const { return finished_; }
  /// When the last event went through in good order (CLOCK_MONOTONIC).
  std::uint64_t last_success_ns() const { return last_success_ns_.load(std::memory_order_relaxed); }
  /// The thread and the workers end. What did not get through stays in the spools, for the next run.
  void stop();
  void idle();

  const std::vector<std::unique_ptr<ProcessorStage>>& stages() const { return stages_; }

 private:
  struct Queued {
    EventChunk chunk;  // without text when it is only in the spool
    std::uint64_t events = 0;
    Spool* spool = nullptr;
    Spool::Place place;
  };

  ProcessorChain(int directory_fd) : directory_fd_(directory_fd) {}

  Result<void> add(const ProcessorSpec& spec, const Options& options);
  void enqueue(Queued queued);
  void start_thread();
  static void* run(void* self);
  void loop();
  bool next(Queued* queued);
  bool load(Queued* queued);
  bool process(Queued& queued);
  bool pass_through(std::span<ChainEvent> events);
  void hand_over(const Queued& queued, std::span<const ChainEvent> events, std::uint64_t up_to);
  void nap(std::unique_lock<std::mutex>& lock, int milliseconds);

  int directory_fd_;
  std::vector<std::unique_ptr<ProcessorStage>> stages_;
  std::vector<ScriptProcessor*> workers_;
  std::vector<BuiltinProcessor*> fronts_;
  std::size_t front_ = 0;  // stages before the first worker

  std::vector<std::unique_ptr<Spool>> spools_;  // the first is ours, once there is one; the others were adopted
  Spool* own_spool_ = nullptr;
  bool spool_failed_ = false;
  std::uint64_t submitted_ = 0;  // events
  std::uint64_t finished_ = 0;

  pthread_t thread_{};
  bool running_ = false;
  std::size_t slice_ = 64;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> lost_{0};
  std::atomic<std::uint64_t> last_success_ns_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Queued> queue_;
  std::uint64_t queued_bytes_ = 0;
  std::vector<ProcessedEvents> processed_;
  std::uint64_t processed_bytes_ = 0;
};

}  // namespace watcher
