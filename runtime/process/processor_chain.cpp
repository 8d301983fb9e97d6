#include "runtime/process/processor_chain.h"

#include <signal.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/process/worker_programs.h"

namespace watcher {
namespace {

constexpr std::uint64_t kMostQueuedBytes = 32u << 20;     // beyond it texts are read back from the spool
constexpr std::uint64_t kMostUnspooledBytes = 64u << 20;  // where there is no spool
constexpr std::uint64_t kMostProcessedBytes = 8u << 20;
constexpr std::uint64_t kSliceNs = 20'000'000;
constexpr std::size_t kLargestSlice = 2048;
constexpr int kIdle_ms = 100;
constexpr int kHeld_ms = 100;

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

std::vector<ChainEvent> events_of(const EventChunk& chunk) {
  std::vector<ChainEvent> events(chunk.infos.size());
  std::size_t start = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    events[i].info = &chunk.infos[i];
    events[i].line = std::string_view(chunk.text).substr(start, chunk.infos[i].bytes - 1);
    start += chunk.infos[i].bytes;
  }
  return events;
}

}  // namespace

Result<std::unique_ptr<ProcessorChain>> ProcessorChain::open(const Options& options, int directory_fd) {
  std::vector<ProcessorSpec> specs = options.processors();
  if (const std::string& path = options.get("custom_processor"); !path.empty()) {
    auto spec = script_processor(path, "custom_processor");
    if (!spec) return spec.error();
    spec.value().timeout_ms = static_cast<std::uint32_t>(options.number("processor_timeout_ms"));
    specs.push_back(std::move(spec.value()));
  }
  if (specs.empty()) return std::unique_ptr<ProcessorChain>();
  std::unique_ptr<ProcessorChain> chain(new ProcessorChain(directory_fd));
  for (const ProcessorSpec& spec : specs)
    if (auto added = chain->add(spec, options); !added) return added.error();
  return chain;
}

Result<void> ProcessorChain::add(const ProcessorSpec& spec, const Options& options) {
  if (spec.needs_worker()) {
    const bool shows_output = options.get("log_level") == "DEBUG";
    auto worker = std::make_unique<ScriptProcessor>(spec, worker_command(spec, options), shows_output);
    workers_.push_back(worker.get());
    stages_.push_back(std::move(worker));
    return {};
  }
  auto builtin = BuiltinProcessor::make(spec, directory_fd_);
  if (!builtin) return builtin.error();
  if (workers_.empty()) {
    fronts_.push_back(builtin.value().get());
    ++front_;
  }
  stages_.push_back(std::move(builtin.value()));
  return {};
}

ProcessorChain::~ProcessorChain() {
  stop();
}

Result<void> ProcessorChain::start_workers() {
  for (ScriptProcessor* worker : workers_)
    if (auto started = worker->start(stopping_); !started) return started;
  return {};
}

bool ProcessorChain::keeps(const EventView& event, const Delta& delta, std::uint64_t timestamp_ns) {
  if (fronts_.empty()) return true;
  const RingEventFacts facts(event, delta, timestamp_ns);
  return std::ranges::all_of(fronts_, [&](BuiltinProcessor* front) { return front->keeps(facts); });
}

std::uint64_t ProcessorChain::submit(EventChunk* chunk) {
  if (own_spool_ == nullptr && !spool_failed_) {
    auto spool = Spool::create(directory_fd_);
    spool_failed_ = !spool;
    if (spool) {
      own_spool_ = spool.value().get();
      spools_.push_back(std::move(spool.value()));
    }
  }
  Queued queued;
  queued.events = chunk->infos.size();
  if (own_spool_ != nullptr) {
    if (const auto place = own_spool_->append(*chunk)) {
      queued.spool = own_spool_;
      queued.place = *place;
    }
  }
  bool keep_text = true;
  {
    const std::lock_guard lock(mutex_);
    const bool is_spooled = queued.spool != nullptr;
    if (queued_bytes_ > (is_spooled ? kMostQueuedBytes : kMostUnspooledBytes)) {
      if (!is_spooled) return std::exchange(chunk->infos, {}).size();
      keep_text = false;
    }
  }
  if (keep_text) queued.chunk = std::move(*chunk);
  *chunk = EventChunk{};
  enqueue(std::move(queued));
  return 0;
}

void ProcessorChain::submit(std::unique_ptr<Spool> spool) {
  for (const Spool::Place& place : spool->unfinished()) {
    Queued queued;
    queued.spool = spool.get();
    queued.place = place;
    queued.events = place.lines - place.first;
    enqueue(std::move(queued));
  }
  spools_.push_back(std::move(spool));
}

void ProcessorChain::enqueue(Queued queued) {
  submitted_ += queued.events;
  {
    const std::lock_guard lock(mutex_);
    queued_bytes_ += queued.chunk.text.size();
    queue_.push_back(std::move(queued));
  }
  changed_.notify_all();
  if (!running_) start_thread();
}

// It takes no signals: they are for the program that collects.
void ProcessorChain::start_thread() {
  sigset_t all;
  sigset_t previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  running_ = pthread_create(&thread_, nullptr, run, this) == 0;
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
}

std::vector<ProcessedEvents> ProcessorChain::take_processed() {
  std::vector<ProcessedEvents> taken;
  {
    const std::lock_guard lock(mutex_);
    taken.swap(processed_);
    processed_bytes_ = 0;
  }
  if (!taken.empty()) changed_.notify_all();
  return taken;
}

void ProcessorChain::note_written(const ProcessedEvents& events) {
  finished_ += events.up_to - events.place.first;
  if (events.spool == nullptr) return;
  events.spool->note_done(events.place, events.up_to, events.whole_chunk);
  if (finished_ == submitted_) events.spool->clear();
}

void ProcessorChain::idle() {
  for (BuiltinProcessor* front : fronts_) front->idle();
}

void ProcessorChain::stop() {
  stopping_.store(true);
  changed_.notify_all();
  if (std::exchange(running_, false)) pthread_join(thread_, nullptr);
  for (const Queued& queued : queue_) {
    if (queued.spool != nullptr) continue;
    lost_ += queued.events;
    finished_ += queued.events;
  }
  queue_.clear();
  for (const auto& spool : spools_)
    if (spool->unfinished().empty()) spool->remove();
  spools_.clear();
  own_spool_ = nullptr;
  spool_failed_ = true;
  workers_.clear();
}

void* ProcessorChain::run(void* self) {
  static_cast<ProcessorChain*>(self)->loop();
  return nullptr;
}

void ProcessorChain::nap(std::unique_lock<std::mutex>& lock, int milliseconds) {
  changed_.wait_for(lock, std::chrono::milliseconds(milliseconds));
}

bool ProcessorChain::next(Queued* queued) {
  std::unique_lock lock(mutex_);
  while (!stopping_ && (queue_.empty() || processed_bytes_ > kMostProcessedBytes)) {
    const bool had_nothing = queue_.empty();
    nap(lock, kIdle_ms);
    if (!had_nothing || !queue_.empty()) continue;
    lock.unlock();
    for (const auto& stage : std::span(stages_).subspan(front_)) stage->idle();
    lock.lock();
  }
  if (stopping_) return false;
  *queued = std::move(queue_.front());
  queue_.pop_front();
  queued_bytes_ -= queued->chunk.text.size();
  return true;
}

bool ProcessorChain::load(Queued* queued) {
  if (!queued->chunk.infos.empty()) return true;
  auto chunk = queued->spool->read(queued->place);
  if (!chunk || chunk->infos.size() < queued->place.first) return false;
  queued->chunk = std::move(*chunk);
  return true;
}

/// False: the chain was stopped.
bool ProcessorChain::pass_through(std::span<ChainEvent> events) {
  for (const auto& stage : std::span(stages_).subspan(front_)) {
    const std::uint64_t failed_before = stage->counts().failed;
    while (!stage->process(events, stopping_)) {
      std::unique_lock lock(mutex_);
      if (stopping_) return false;
      nap(lock, kHeld_ms);
    }
    if (stage->counts().failed - failed_before < events.size()) last_success_ns_ = now_ns();
  }
  return true;
}

void ProcessorChain::hand_over(const Queued& queued, std::span<const ChainEvent> events, std::uint64_t up_to) {
  ProcessedEvents done;
  done.run_id = queued.chunk.run_id;
  done.spool = queued.spool;
  done.place = queued.place;
  done.place.first = up_to - events.size();
  done.up_to = up_to;
  done.whole_chunk = up_to == queued.chunk.infos.size();
  for (const ChainEvent& event : events) {
    if (event.dropped) continue;
    event.append_to(&done.text);
    done.infos.push_back(*event.info);
  }
  const std::lock_guard lock(mutex_);
  processed_bytes_ += done.text.size();
  processed_.push_back(std::move(done));
}

/// In slices of a bounded time, so that who reads along does not wait for a whole chunk.
bool ProcessorChain::process(Queued& queued) {
  std::vector<ChainEvent> events = events_of(queued.chunk);
  for (std::size_t at = queued.place.first; at < events.size();) {
    const std::size_t size = std::min(slice_, events.size() - at);
    const std::span<ChainEvent> slice = std::span(events).subspan(at, size);
    const std::uint64_t begun_ns = now_ns();
    if (!pass_through(slice)) return false;
    at += size;
    hand_over(queued, slice, at);
    queued.place.first = at;
    queued.events -= size;
    const bool quick = now_ns() - begun_ns < kSliceNs;
    slice_ = std::clamp<std::size_t>(quick ? size * 2 : size / 2, 1, kLargestSlice);
  }
  return true;
}

void ProcessorChain::loop() {
  for (Queued queued; next(&queued); queued = Queued{}) {
    if (!load(&queued)) {
      lost_ += queued.events;
      ProcessedEvents nothing;
      nothing.spool = queued.spool;
      nothing.place = queued.place;
      nothing.up_to = queued.place.first + queued.events;
      nothing.whole_chunk = true;
      const std::lock_guard lock(mutex_);
      processed_.push_back(std::move(nothing));
    } else if (!process(queued)) {
      const std::lock_guard lock(mutex_);
      queue_.push_front(std::move(queued));
      break;
    }
  }
  for (ScriptProcessor* worker : workers_) worker->end();
}

}  // namespace watcher
