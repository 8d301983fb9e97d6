#include "runtime/session/session.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config/environment.h"
#include "runtime/base/process_start.h"
#include "runtime/base/raw_syscall.h"
#include "runtime/capture/bulk/bulk_window.h"
#include "runtime/capture/engines/engine.h"
#include "runtime/capture/engines/engine_choice.h"
#include "runtime/capture/memory_watch.h"
#include "runtime/capture/regions/memory_lifetime.h"
#include "runtime/queue/ring_file.h"
#include "runtime/session/log.h"
#include "runtime/session/probe_table.h"
#include "runtime/session/run_identity.h"

namespace watcher {
namespace {

constinit Session* current = nullptr;

std::string absolute(const std::string& path) {
  if (path.empty() || path[0] == '/') return path;
  char directory[4096];
  if (getcwd(directory, sizeof directory) == nullptr) return path;
  return std::string(directory) + "/" + path;
}

OnFull on_full_of(const std::string& text) {
  if (text == "drop-newest") return OnFull::kDropNewest;
  if (text == "drop-oldest") return OnFull::kDropOldest;
  return OnFull::kBlock;
}

watcher_log_level level_of(const std::string& text) {
  if (text == "DEBUG") return WATCHER_DEBUG;
  if (text == "WARNING") return WATCHER_WARNING;
  if (text == "ERROR") return WATCHER_ERROR;
  return WATCHER_INFO;
}

bool invariant_tsc() {
  unsigned eax = 0x80000007, ebx = 0, ecx = 0, edx = 0;
  __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return (edx >> 8 & 1) != 0;
}

/// Other threads call through the table meanwhile.
template <class Hook>
void set_hook(Hook* slot, Hook hook) {
  __atomic_store_n(slot, hook, __ATOMIC_RELEASE);
}

int resize_memory(void* pointer, size_t bytes, void** result) {
  if (memory_allocated(pointer) == 0) return 0;
  *result = memory_resize(pointer, bytes);
  return 1;
}

}  // namespace

Session* session() {
  return current;
}

int Session::attach(watcher_host host, const char* directory, watcher_runtime_hooks* hooks,
                    const watcher_real_functions* real) {
  adopt(directory, hooks, real);
  if (const Result<void> loaded = load_options(); !loaded) {
    log(WATCHER_ERROR, "nothing is watched: %s", loaded.error().message.c_str());
    return EINVAL;
  }
  if (!load_probe(host)) return ENOTSUP;
  if (asked_) start();
  return 0;
}

Result<void> Session::attach_program(const std::string& directory, watcher_runtime_hooks* hooks,
                                     const watcher_real_functions* real, const char* output,
                                     std::size_t max_queue_size) {
  adopt(directory, hooks, real);
  if (Result<void> loaded = load_options(); !loaded) return loaded;
  const auto suggest = [this](const char* key, const std::string& value) {
    return options_.is_set(key) ? Result<void>() : options_.set(key, value, std::string("watcher_initialize: ") + key);
  };
  if (output != nullptr && output[0] != '\0')
    if (Result<void> set = suggest("output", output); !set) return set;
  if (max_queue_size != 0)
    if (Result<void> set = suggest("max_queue_size", std::to_string(max_queue_size)); !set) return set;
  output_ = absolute(options_.get("output"));
  if (const int error = start(); error != 0)
    return Error{error, "no event queue in " + output_ + ": " + strerror(error)};
  if (const int error = start_memory(); error != 0) return Error{error, std::string("no engine: ") + strerror(error)};
  return {};
}

void Session::adopt(const std::string& directory, watcher_runtime_hooks* hooks, const watcher_real_functions* real) {
  current = this;
  directory_ = directory;
  hooks_ = hooks;
  real_ = real;
}

Result<void> Session::load_options() {
  Result<Options> loaded = load_from_environment(&asked_);
  if (!loaded) return loaded.error();
  options_ = std::move(loaded.value());
  if (options_.is_set("log_level")) set_log_level(level_of(options_.get("log_level")));
  output_ = absolute(options_.get("output"));
  config_ = absolute(options_.get("config"));
  return {};
}

bool Session::load_probe(watcher_host host) {
  const std::string name = host == WATCHER_HOST_PYTHON ? "python" : "node";
  for (const std::string& place : {"/watcher_" + name + ".so", "/../probes/" + name + "/watcher_" + name + ".so"}) {
    const std::string path = directory_ + place;
    if (access(path.c_str(), R_OK) != 0) continue;
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {  // an interpreter older than all we know: only of interest to whoever asked for it
      log(asked_ ? WATCHER_ERROR : WATCHER_DEBUG, "nothing is watched: %s", dlerror());
      return false;
    }
    const auto attach_probe = reinterpret_cast<watcher_probe_attach_fn>(dlsym(library, "watcher_probe_attach"));
    probe_ = attach_probe != nullptr ? attach_probe(probe_table()) : nullptr;
    if (probe_ != nullptr) log(WATCHER_DEBUG, "attached to %s", probe_->host);
    return probe_ != nullptr;
  }
  return false;
}

std::size_t Session::rules(const char* path, const watcher_rule** rules) const {
  std::vector<watcher_rule> found;
  for (const WatchRule& rule : options_.rules()) {
    if (!file_matches(rule.file, path)) continue;
    for (const WatchName& name : rule.names)
      found.push_back({.name = name.name.c_str(),
                       .scope = static_cast<watcher_rule_scope>(name.scope),
                       .when = name.terms.when.empty() ? nullptr : name.terms.when.c_str(),
                       .sample = name.terms.sample,
                       .max_per_second = name.terms.max_per_second,
                       .breaks = name.terms.breaks});
  }
  auto* kept = new watcher_rule[found.size() + 1];  // process-lifetime: sites refer to them
  for (std::size_t i = 0; i < found.size(); ++i) kept[i] = found[i];
  *rules = kept;
  return found.size();
}

int Session::start() {
  if (start_result_ >= 0) return start_result_;
  start_result_ = open_ring();
  if (start_result_ != 0) {
    log(WATCHER_ERROR, "nothing is watched: no event queue in %s: %s", output_.c_str(), strerror(start_result_));
    return start_result_;
  }
  log(WATCHER_DEBUG, "process %d begins to record, into %s", getpid(), output_.c_str());
  ring_.header()->host = ring_.dictionary().intern(probe_ != nullptr ? probe_->host : "native");
  EventRing::revive_collector = [](RingHeader*) { session()->start_collector(); };
  pthread_atfork([] { session()->before_fork(); }, [] { session()->after_fork_parent(); },
                 [] { session()->after_fork_child(); });
  set_hook<void (*)(int)>(&hooks_->leaving, [](int) { session()->close(); });
  // before memory is watched: threads that begin now are told of it too late
  set_hook<decltype(hooks_->set_stack)>(&hooks_->set_stack, memory_set_stack);
  return 0;
}

int Session::open_ring() {
  if (mkdir(output_.c_str(), 0700) != 0 && errno != EEXIST) return errno;
  (void)options_.set("output", output_, "output");  // for the probe, wherever the program has gone by then
  const char* run = getenv(kRunIdVariable);
  const char* collector = getenv(kCollectorPidVariable);
  RunIdentity identity = run_of_ancestor(output_);
  const bool has_ancestor = identity.run_id != 0;
  if (run != nullptr) identity.run_id = strtoull(run, nullptr, 16);
  if (collector != nullptr) identity.collector_pid = static_cast<std::uint32_t>(strtoul(collector, nullptr, 10));
  const bool collected = has_ancestor || process_runs(identity.collector_pid);
  const RingSettings settings{.directory = output_.c_str(),
                              .slot_count = ring_slot_count(options_.number("max_queue_size")),
                              .on_full = on_full_of(options_.get("on_full")),
                              .clock = invariant_tsc() ? Clock::kTsc : Clock::kRealtime,
                              .run_id = identity.run_id != 0 ? identity.run_id : EventRing::realtime_ns(),
                              .collector_pid = identity.collector_pid};
  if (const int failed = ring_create(settings, &ring_); failed != 0) return failed;
  if (ring_.header()->slot_count < settings.slot_count)
    log(WATCHER_WARNING, "no room for a queue of %u events in %s: it has %u", settings.slot_count, output_.c_str(),
        ring_.header()->slot_count);
  if (!collector_.prepare(directory_, output_, config_, ring_.header()->run_id)) {
    log(WATCHER_WARNING,
        "watcher-collector is not installed beside the shim; events wait in %s until watcher-exec or the next run "
        "collects them",
        output_.c_str());
    return 0;
  }
  if (!collected) start_collector();
  return 0;
}

bool Session::start_collector() {
  std::atomic<std::uint32_t>& noted = ring_.header()->collector_pid;
  std::uint32_t before = noted.load(std::memory_order_relaxed);
  const std::uint32_t started = collector_.spawn();
  if (started != 0) noted.compare_exchange_strong(before, started, std::memory_order_release);
  return started != 0;
}

int Session::start_memory() {
  if (memory_result_ >= 0) return memory_result_;
  if (start() != 0) return memory_result_ = start_result_;
  memory_record_callers(static_cast<std::uint32_t>(options_.number("stack")));
  sampled_engine_every(static_cast<int>(options_.number("sample_interval_ms")));
  sigset_t blocked;  // asked first: an engine unblocks the signals it lives on
  const bool inherited = pthread_sigmask(SIG_SETMASK, nullptr, &blocked) == 0;
  memory_result_ = memory_start(&ring_, options_.get("engine").c_str(), probe_ != nullptr ? probe_->place : nullptr);
  if (memory_result_ != 0) {
    log(WATCHER_ERROR, "memory is not watched: %s", strerror(memory_result_));
    return memory_result_;
  }
  const auto text = [this](DictionaryRef ref) { return std::string(ring_.dictionary().string(ref)); };
  log(WATCHER_INFO, "engine %s: %s", text(ring_.header()->engine).c_str(), text(ring_.header()->engine_reason).c_str());
  when_watched_in_place([] { session()->follow_lifetimes(); });
  when_region_refused([](const char* line) { log(WATCHER_INFO, "memory engine: %s", line); });
  if (probe_ != nullptr && memory_result_ == 0) memory_record_stacks(probe_->stack);
  const bool bursts = options_.get("burst") != "off" && probe_ != nullptr && probe_->witness != nullptr;
  if (bursts && !bulk_windows_start(probe_->witness, static_cast<std::uint32_t>(options_.number("burst_threshold"))))
    log(WATCHER_INFO, "bulk statements are recorded store by store: the processor guards return addresses");
  set_hook<int (*)(void*)>(&hooks_->free_memory, memory_free);
  set_hook<int (*)(void*, size_t, void**)>(&hooks_->realloc_memory, resize_memory);
  set_hook<size_t (*)(void*)>(&hooks_->memory_size, [](void* pointer) { return memory_allocated(pointer); });
  set_hook<void (*)(void*, size_t, uint64_t, int)>(&hooks_->kernel_write_end, kernel_write_end);
  set_hook<void* (*)(void*, size_t, uint64_t*)>(&hooks_->kernel_write_begin, kernel_write_begin);
  set_hook<decltype(hooks_->set_action)>(&hooks_->set_action, memory_set_action);
  set_hook<void (*)(sigset_t*)>(&hooks_->filter_mask, [](sigset_t* set) { memory_filter_mask(set); });
  // What this thread inherited blocked is from here on only reported as blocked, like what it blocks itself.
  if (inherited) pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
  return 0;
}

void Session::follow_lifetimes() {
  set_hook<decltype(hooks_->settle_watches)>(&hooks_->settle_watches, settle_watches);
  set_hook<decltype(hooks_->segment_bytes)>(&hooks_->segment_bytes, segment_bytes);
  set_hook<decltype(hooks_->lift_watches)>(&hooks_->lift_watches, lift_watches);
  set_hook<decltype(hooks_->protect_memory)>(&hooks_->protect_memory, protect_watched);
  set_hook<decltype(hooks_->advise_memory)>(&hooks_->advise_memory, advise_watched);
}

void Session::before_fork() {
  if (memory_result_ == 0) memory_before_fork();
}

void Session::after_fork_parent() {
  if (memory_result_ == 0) memory_after_fork_parent();
}

// First a ring of our own, then the memory: from here on parent and child never see each other's events or stores.
void Session::after_fork_child() {
  forked_ = true;
  hooks_->owner = static_cast<pid_t>(raw_syscall(SYS_getpid));
  const bool renewed = stopped_ || ring_renew_in_child(&ring_) == 0;
  if (memory_result_ == 0) memory_after_fork_child();
  if (probe_ != nullptr && probe_->after_fork_child != nullptr) probe_->after_fork_child();
  if (!renewed) log(WATCHER_WARNING, "process %d is not watched: its event queue could not be made", hooks_->owner);
}

bool Session::close() {
  if (!ring_ || start_result_ != 0 || ring_.header()->pid != static_cast<std::uint32_t>(getpid())) return true;
  if (memory_result_ == 0 && ring_.header()->state.load(std::memory_order_relaxed) == RingState::kOpen) {
    bulk_windows_release(0, ~std::uintptr_t{0});
    memory_flush();
  }
  RingState open = RingState::kOpen;
  if (!ring_.header()->state.compare_exchange_strong(open, RingState::kClosing, std::memory_order_acq_rel)) return true;
  if (ring_.header()->handler_lost.load(std::memory_order_relaxed) != 0)
    log(WATCHER_WARNING, "the uffd engine's handler process was killed; stores of that moment are not told");
  // servers and shells fork often: a child that recorded nothing has nothing to wait for
  if (forked_ && ring_.header()->head.load(std::memory_order_relaxed) == 0) return true;
  if (wait_until_closed() || ring_.header()->head.load(std::memory_order_relaxed) == 0) return true;
  log(WATCHER_WARNING, "no collector took the last events; they wait in %s", output_.c_str());
  return false;
}

bool Session::stop() {
  stopped_ = true;
  return close();
}

// Waits as long as the collector makes progress; a missing one is started once, a stuck one does not hold the host, nor
// does one that cannot do its work and ends.
bool Session::wait_until_closed() {
  constexpr timespec kSlice{0, 20'000'000};
  constexpr int kPatienceSlices = 250;  // 5 s without progress
  constexpr int kSlicesForUnknown = 5;  // nobody has taken the ring up yet: somebody may be about to
  RingHeader* header = ring_.header();
  std::uint64_t seen_tail = 0;
  bool spawned = false;
  // the collector may sleep between two looks: the signal wakes it, and means nothing to anyone else
  const auto collector = static_cast<pid_t>(header->collector_pid.load(std::memory_order_acquire));
  if (collector > 0) raw_syscall(SYS_kill, collector, SIGCHLD);
  for (int idle = 0; idle < kPatienceSlices; ++idle) {
    if (header->state.load(std::memory_order_acquire) == RingState::kClosed) return true;
    raw_syscall(SYS_futex, &header->state, FUTEX_WAIT, static_cast<int>(RingState::kClosing), &kSlice, nullptr, 0);
    const std::uint64_t tail = header->tail.load(std::memory_order_acquire);
    if (tail != seen_tail) idle = 0;
    seen_tail = tail;
    const std::uint32_t reader = header->collector_pid.load(std::memory_order_acquire);
    if (process_runs(reader) || (reader == 0 && idle < kSlicesForUnknown)) continue;
    if (spawned || !start_collector()) break;
    spawned = true;
  }
  return header->state.load(std::memory_order_acquire) == RingState::kClosed;
}

void Session::fill(watcher_stats* stats) const {
  *stats = {};
  if (!ring_ || start_result_ != 0) return;
  const RingHeader& header = *ring_.header();
  const auto copy = [this](DictionaryRef text, char* to, std::size_t room) {
    const std::string_view from = ring_.dictionary().string(text);
    memcpy(to, from.data(), from.size() < room ? from.size() : room - 1);
  };
  stats->emitted = ring_.committed();
  stats->dropped = header.dropped.load(std::memory_order_relaxed);
  stats->blocked = header.blocked.load(std::memory_order_relaxed);
  stats->neighbour_traps = header.neighbour_traps.load(std::memory_order_relaxed);
  stats->kernel_redirects = header.kernel_redirects.load(std::memory_order_relaxed);
  stats->single_steps = header.single_steps.load(std::memory_order_relaxed);
  stats->regions = memory_regions();
  copy(header.engine, stats->engine, sizeof stats->engine);
  copy(header.engine_reason, stats->engine_reason, sizeof stats->engine_reason);
}

// exit() and a return from main(): after the interpreter has finalized, since the shim's constructor came before it.
__attribute__((destructor)) static void close_session() {
  if (current != nullptr) current->close();
}

}  // namespace watcher

extern "C" __attribute__((visibility("default"))) int watcher_runtime_attach(watcher_host host, const char* directory,
                                                                             watcher_runtime_hooks* hooks,
                                                                             const watcher_real_functions* real) {
  static auto* session = new watcher::Session;  // process-lifetime
  return session->attach(host, directory, hooks, real);
}
