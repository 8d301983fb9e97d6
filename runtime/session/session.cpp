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
#include "runtime/capture/memory_watch.h"
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
  current = this;
  directory_ = directory;
  hooks_ = hooks;
  real_ = real;
  if (!load_options()) return EINVAL;
  if (!load_probe(host)) return ENOTSUP;
  if (asked_) start();
  return 0;
}

bool Session::load_options() {
  Result<Options> loaded = load_from_environment(&asked_);
  if (!loaded) {
    log(WATCHER_ERROR, "nothing is watched: %s", loaded.error().message.c_str());
    return false;
  }
  options_ = std::move(loaded.value());
  if (options_.is_set("log_level")) set_log_level(level_of(options_.get("log_level")));
  output_ = absolute(options_.get("output"));
  config_ = absolute(options_.get("config"));
  return true;
}

bool Session::load_probe(watcher_host host) {
  if (host != WATCHER_HOST_PYTHON) return false;
  for (const char* place : {"/watcher_python.so", "/../probes/python/watcher_python.so"}) {
    const std::string path = directory_ + place;
    if (access(path.c_str(), R_OK) != 0) continue;
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {  // an interpreter older than all we know: only of interest to whoever asked for it
      log(asked_ ? WATCHER_ERROR : WATCHER_DEBUG, "nothing is watched: %s", dlerror());
      return false;
    }
    const auto attach_probe = reinterpret_cast<watcher_probe_attach_fn>(dlsym(library, "watcher_probe_attach"));
    probe_ = attach_probe != nullptr ? attach_probe(probe_table()) : nullptr;
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
  ring_.header()->host = probe_ != nullptr ? ring_.dictionary().intern(probe_->host) : 0;
  EventRing::revive_collector = [](RingHeader*) { session()->revive_collector(); };
  pthread_atfork([] { session()->before_fork(); }, [] { session()->after_fork_parent(); },
                 [] { session()->after_fork_child(); });
  set_hook<void (*)(int)>(&hooks_->leaving, [](int) { session()->close(); });
  // the engine that was asked for by name starts with the session, so that its handler thread is there before main()
  if (options_.get("engine") == "uffd") start_memory();
  return 0;
}

int Session::open_ring() {
  if (mkdir(output_.c_str(), 0700) != 0 && errno != EEXIST) return errno;
  const char* run = getenv(kRunIdVariable);
  const std::uint64_t run_id = run != nullptr ? strtoull(run, nullptr, 16) : run_of_ancestor(output_);
  const RingSettings settings{.directory = output_.c_str(),
                              .slot_count = ring_slot_count(options_.number("max_queue_size")),
                              .on_full = on_full_of(options_.get("on_full")),
                              .clock = invariant_tsc() ? Clock::kTsc : Clock::kRealtime,
                              .run_id = run_id != 0 ? run_id : EventRing::realtime_ns()};
  if (const int failed = ring_create(settings, &ring_); failed != 0) return failed;
  if (!collector_.prepare(directory_, output_, config_, ring_.header()->run_id)) {
    log(WATCHER_WARNING,
        "watcher-collector is not installed beside the shim; events wait in %s until watcher-exec or the next run "
        "collects them",
        output_.c_str());
    return 0;
  }
  const char* collector = getenv(kCollectorPidVariable);
  const bool collected =
      collector != nullptr && process_runs(static_cast<std::uint32_t>(strtoul(collector, nullptr, 10)));
  if (!collected && run_of_ancestor(output_) == 0) collector_.spawn();
  return 0;
}

int Session::start_memory() {
  if (memory_result_ >= 0) return memory_result_;
  if (start() != 0) return memory_result_ = start_result_;
  memory_result_ = memory_start(&ring_, options_.get("engine").c_str(), probe_->place);
  if (memory_result_ != 0) {
    log(WATCHER_ERROR, "memory is not watched: %s", strerror(memory_result_));
    return memory_result_;
  }
  set_hook<int (*)(void*)>(&hooks_->free_memory, memory_free);
  set_hook<int (*)(void*, size_t, void**)>(&hooks_->realloc_memory, resize_memory);
  set_hook<size_t (*)(void*)>(&hooks_->memory_size, [](void* pointer) { return memory_allocated(pointer); });
  set_hook<void (*)(void*, size_t, uint64_t, int)>(&hooks_->kernel_write_end, kernel_write_end);
  set_hook<void* (*)(void*, size_t, uint64_t*)>(&hooks_->kernel_write_begin, kernel_write_begin);
  set_hook<decltype(hooks_->set_action)>(&hooks_->set_action, memory_set_action);
  set_hook<void (*)(sigset_t*)>(&hooks_->filter_mask, [](sigset_t* set) { memory_filter_mask(set); });
  return 0;
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
  const bool renewed = ring_renew_in_child(&ring_) == 0;
  if (memory_result_ == 0) memory_after_fork_child();
  if (probe_ != nullptr && probe_->after_fork_child != nullptr) probe_->after_fork_child();
  if (!renewed) log(WATCHER_WARNING, "process %d is not watched: its event queue could not be made", hooks_->owner);
}

void Session::close() {
  if (!ring_ || start_result_ != 0 || ring_.header()->pid != static_cast<std::uint32_t>(getpid())) return;
  RingState open = RingState::kOpen;
  if (!ring_.header()->state.compare_exchange_strong(open, RingState::kClosing, std::memory_order_acq_rel)) return;
  // servers and shells fork often: a child that recorded nothing has nothing to wait for
  if (forked_ && ring_.header()->head.load(std::memory_order_relaxed) == 0) return;
  if (wait_until_closed()) return;
  log(WATCHER_WARNING, "no collector took the last events; they wait in %s", output_.c_str());
}

// Waits as long as the collector makes progress; a missing one is started, a stuck one does not hold the host.
bool Session::wait_until_closed() {
  constexpr timespec kSlice{0, 20'000'000};
  constexpr int kPatienceSlices = 250;  // 5 s without progress
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
    const bool orphaned = !process_runs(header->collector_pid.load(std::memory_order_acquire));
    if (orphaned && idle >= 5 && !spawned) spawned = collector_.spawn() == 0;
  }
  return header->state.load(std::memory_order_acquire) == RingState::kClosed;
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
