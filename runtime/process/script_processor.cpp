#include "runtime/process/script_processor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace watcher {
namespace {

constexpr std::uint64_t kMillisecondNs = 1'000'000;
constexpr std::uint64_t kStartNs = 10'000 * kMillisecondNs;
constexpr std::uint64_t kPauseAfterFailedStartNs = 1'000 * kMillisecondNs;
constexpr std::uint64_t kLongestLookNs = 20 * kMillisecondNs;
constexpr std::uint64_t kLongestStarvationNs = 10'000 * kMillisecondNs;
constexpr std::uint64_t kLeastShare = 10;  // who could run for less than a tenth of the time had no chance
constexpr std::uint64_t kUnknown = ~std::uint64_t{0};
constexpr int kTick_ms = 5;
constexpr timespec kLetItWork{0, 200'000};
constexpr std::size_t kLongestReply = (1u << 20) + 64;
constexpr int kFarewell_ms = 1000;

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

void count(std::atomic<std::uint64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

void ScriptProcessor::Patience::restart() {
  begun_ns_ = seen_ns_ = now_ns();
  attended_ns_ = 0;
  ran_before_ns_ = kUnknown;
}

bool ScriptProcessor::Patience::is_over(std::uint64_t limit_ns, const WorkerProcess& worker) {
  const std::uint64_t now = now_ns();
  attended_ns_ += std::min(now - std::exchange(seen_ns_, now), kLongestLookNs);
  if (ran_before_ns_ == kUnknown) ran_before_ns_ = worker.activity().ran_ns;
  if (attended_ns_ < limit_ns) return false;
  const WorkerProcess::Activity activity = worker.activity();
  const bool starved = activity.runnable && activity.ran_ns - ran_before_ns_ < limit_ns / kLeastShare;
  return !starved || now - begun_ns_ >= limit_ns + kLongestStarvationNs;
}

ScriptProcessor::ScriptProcessor(const ProcessorSpec& spec, Result<WorkerCommand> command, bool shows_output)
    : ProcessorStage(base_name(spec.path)), spec_(spec), command_(std::move(command)), shows_output_(shows_output) {}

void ScriptProcessor::end() {
  drain_output();
  worker_.finish(kFarewell_ms);
}

Result<void> ScriptProcessor::start(const std::atomic<bool>& stop) {
  if (!command_) return command_.error();
  if (was_started_) count(counts().restarts);
  was_started_ = true;
  Result<WorkerProcess> worker = WorkerProcess::start(command_.value());
  if (!worker) return worker.error();
  worker_ = std::move(worker.value());
  incoming_.clear();
  ended_ = nonsense_ = false;
  const Result<void> ready = wait_until_ready(stop);
  if (!ready) worker_.kill();
  return ready;
}

Result<void> ScriptProcessor::wait_until_ready(const std::atomic<bool>& stop) {
  const auto refused = [this](const std::string& why) { return Error{0, spec_.path + ": " + why}; };
  for (patience_.restart(); !ended_;) {
    if (!receive()) wait(kTick_ms);
    const std::size_t end = incoming_.find('\n');
    if (end == std::string::npos) {
      if (stop.load(std::memory_order_relaxed)) return refused("the run ended while it was loaded");
      if (patience_.is_over(kStartNs, worker_)) return refused("it does not finish loading within 10 seconds");
      continue;
    }
    const Reply reply = parse_reply(std::string_view(incoming_).substr(0, end));
    if (reply.kind == Reply::Kind::kFailure) return refused(decoded_text(reply.content));
    if (reply.kind != Reply::Kind::kReady) return refused("it writes to descriptor 4, which is Watcher's");
    incoming_.erase(0, end + 1);
    return {};
  }
  return refused(command_.value().arguments.front() + " " + worker_.kill() + " while it loaded the processor");
}

/// A start that fails holds the events back; the next attempt is a second later.
bool ScriptProcessor::ensure_worker(const std::atomic<bool>& stop) {
  pollfd end{worker_.handle(), POLLIN, 0};
  if (worker_.running() && ::poll(&end, 1, 0) == 0) return true;
  worker_.kill();  // it has ended by itself, in no event's time
  if (now_ns() < next_start_ns_) return false;
  const Result<void> started = start(stop);
  if (started) return true;
  if (!stop.load(std::memory_order_relaxed)) counts().say(started.error().message);
  next_start_ns_ = now_ns() + kPauseAfterFailedStartNs;
  return false;
}

void ScriptProcessor::queue_events(std::span<ChainEvent> events) {
  outgoing_.clear();
  sent_ = 0;
  for (ChainEvent& event : events.subspan(answered_))
    if (!event.dropped) event.append_to(&outgoing_);
  patience_.restart();
}

void ScriptProcessor::send() {
  if (sent_ == outgoing_.size()) return;
  // SIGPIPE is blocked on the chain's thread: the end of a worker is learnt from its replies
  const ssize_t written = ::write(worker_.events(), outgoing_.data() + sent_, outgoing_.size() - sent_);
  if (written > 0) sent_ += static_cast<std::size_t>(written);
}

/// True when there was something.
bool ScriptProcessor::receive() {
  constexpr std::size_t kBlock = 64 * 1024;
  const std::size_t before = incoming_.size();
  incoming_.resize(before + kBlock);
  const ssize_t got = ::read(worker_.replies(), incoming_.data() + before, kBlock);
  ended_ = ended_ || got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  incoming_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return got > 0;
}

void ScriptProcessor::apply(ChainEvent& event, std::string_view line) {
  const Reply reply = parse_reply(line);
  const auto add = [&](std::string* target) {
    *target = target->empty() ? std::string(reply.content) : merge_objects(*target, reply.content);
    count(counts().passed);
  };
  switch (reply.kind) {
    case Reply::Kind::kPass:
      return count(counts().passed);
    case Reply::Kind::kAnnotate:
      return add(&event.annotations);
    case Reply::Kind::kEnrich:
      return add(&event.extra);
    case Reply::Kind::kDrop:
      event.dropped = true;
      return count(counts().dropped);
    case Reply::Kind::kFailure:
      event.dropped = true;
      return counts().fail(decoded_text(reply.content));
    case Reply::Kind::kReady:
    case Reply::Kind::kNonsense:
      nonsense_ = true;
  }
}

void ScriptProcessor::take_answers(std::span<ChainEvent> events) {
  std::size_t start = 0;
  for (std::size_t end; !nonsense_ && (end = incoming_.find('\n', start)) != std::string::npos;) {
    while (answered_ < events.size() && events[answered_].dropped) ++answered_;
    nonsense_ = answered_ == events.size();  // an answer to nothing
    if (nonsense_) break;
    apply(events[answered_], std::string_view(incoming_).substr(start, end - start));
    if (nonsense_) break;
    ++answered_;
    start = end + 1;
  }
  incoming_.erase(0, start);
  nonsense_ = nonsense_ || incoming_.size() > kLongestReply;
  while (answered_ < events.size() && events[answered_].dropped) ++answered_;
}

void ScriptProcessor::wait(int milliseconds) {
  pollfd ready[] = {{worker_.replies(), POLLIN, 0},
                    {worker_.output(), POLLIN, 0},
                    {worker_.events(), static_cast<short>(sent_ < outgoing_.size() ? POLLOUT : 0), 0}};
  ::poll(ready, std::size(ready), milliseconds);
  if (ready[1].revents != 0) drain_output();
}

/// What a processor prints never holds it up. It is for those who look for a mistake in it.
void ScriptProcessor::drain_output() {
  static const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (!worker_.running()) return;
  for (int turn = 0; turn < 64; ++turn) {
    ssize_t got = 0;
    if (shows_output_) {
      char block[16 * 1024];
      got = ::read(worker_.output(), block, sizeof block);
      if (got > 0) (void)!::write(STDERR_FILENO, block, static_cast<std::size_t>(got));
    } else {
      got = ::splice(worker_.output(), nullptr, nowhere, nullptr, 1 << 20, SPLICE_F_NONBLOCK);
    }
    if (got <= 0) return;
    counts().output_bytes.fetch_add(static_cast<std::uint64_t>(got), std::memory_order_relaxed);
  }
}

void ScriptProcessor::fail_current(std::span<ChainEvent> events, const std::string& why) {
  if (answered_ < events.size()) {
    counts().fail(why);
    events[answered_++].dropped = true;
  } else {
    counts().say(why);  // an answer too many
  }
  worker_.kill();
}

bool ScriptProcessor::process(std::span<ChainEvent> events, const std::atomic<bool>& stop) {
  const std::uint64_t limit_ns = spec_.timeout_ms * kMillisecondNs;
  while (true) {
    while (answered_ < events.size() && events[answered_].dropped) ++answered_;
    if (answered_ == events.size()) break;
    if (stop.load(std::memory_order_relaxed) || !ensure_worker(stop)) return false;
    queue_events(events);
    while (answered_ < events.size() && worker_.running()) {
      if (stop.load(std::memory_order_relaxed)) {
        worker_.kill();
        return false;
      }
      send();
      const std::size_t before = answered_;
      const bool received = receive();
      if (received) take_answers(events);
      if (nonsense_) {
        fail_current(events, "it wrote something else than an answer to descriptor 4, or a longer one");
      } else if (answered_ > before) {
        patience_.restart();
        // let answers gather: to be woken for each costs more than to take it
        if (answered_ < events.size()) nanosleep(&kLetItWork, nullptr);
      } else if (ended_) {
        drain_output();
        fail_current(events, "its process " + worker_.kill());
      } else if (patience_.is_over(limit_ns, worker_)) {
        count(counts().timeouts);
        fail_current(events, "no answer within " + std::to_string(spec_.timeout_ms) + " ms");
      } else if (!received) {
        wait(kTick_ms);
      }
    }
  }
  answered_ = 0;
  return true;
}

}  // namespace watcher
