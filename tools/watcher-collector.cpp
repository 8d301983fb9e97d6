// watcher-collector OUTPUT_DIR: collects for a program that was started with LD_PRELOAD alone. The runtime starts it,
// inside the host's process tree but out of its way: own session, no inherited descriptor, no signal of the terminal.
//
// Its environment holds the host's WATCHER_* options and WATCHER_RUN_ID; LD_PRELOAD was taken out by the runtime. It
// ends by itself when the last writer of the run is gone.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "config/environment.h"
#include "config/options.h"
#include "runtime/collect/collector.h"
#include "runtime/collect/control_socket.h"

namespace watcher {
namespace {

constexpr int kUsage = 2;
constexpr long kShortestSleep_us = 1'000;
constexpr long kLongestSleep_us = 20'000;
constexpr long kFirstRing_us = 2'000'000;  // the host makes its ring before or after it starts us
constexpr long kLastRing_us = 200'000;     // another process of the run may just be starting

// A descriptor of the host's kept open here would keep the reader of its pipe waiting, its socket or its lock alive.
void let_go_of_descriptors() {
  if (syscall(SYS_close_range, 3u, ~0u, 0u) != 0)
    for (long fd = sysconf(_SC_OPEN_MAX); fd > 2; --fd) close(static_cast<int>(fd));
  const int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd <= 2; ++fd) {
    if (null >= 0 && null != fd)
      dup2(null, fd);
    else if (null < 0)
      close(fd);
  }
  if (null > 2) close(null);
}

/// SIGCHLD: a closing writer waits for us. SIGHUP: events.jsonl is to be put aside.
sigset_t awaited_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  sigaddset(&signals, SIGHUP);
  return signals;
}

// It ends when everything is written, and not before: what it is told by signals, its hosts are told too.
void let_go_of_signals() {
  for (const int signal : {SIGINT, SIGHUP, SIGPIPE, SIGTERM, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGXFSZ, SIGUSR1,
                           SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF})
    ::signal(signal, SIG_IGN);
  const sigset_t awaited = awaited_signals();
  sigprocmask(SIG_SETMASK, &awaited, nullptr);
}

/// The host's limit may be too low for us. Where it cannot be raised it is better to end at once than to let the host
/// wait for events that are never taken.
bool has_descriptors() {
  constexpr rlim_t kNeeded = 16;
  constexpr rlimit kMany = {4096, 4096};
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kNeeded) return true;
  if (setrlimit(RLIMIT_NOFILE, &kMany) == 0) return true;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= kNeeded;
}

bool parse_run_id(const char* text, std::uint64_t* run_id) {
  const std::string_view digits = text != nullptr ? text : "";
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), *run_id, 16);
  return !digits.empty() && fault == std::errc() && end == digits.data() + digits.size();
}

/// Ends early when there is a signal, and says which one.
int sleep_us(long microseconds) {
  const timespec time{microseconds / 1'000'000, microseconds % 1'000'000 * 1000};
  const sigset_t awaited = awaited_signals();
  return sigtimedwait(&awaited, nullptr, &time);
}

void collect(Collector& collector, ControlSocket& control) {
  long sleep = kShortestSleep_us;
  long patience_us = kFirstRing_us;
  for (long idle_us = 0; idle_us < patience_us;) {
    const bool wrote = collector.step() > 0;
    control.serve();
    if (collector.busy()) {
      idle_us = 0;
      patience_us = kLastRing_us;
    }
    if (sleep_us(wrote ? 0 : sleep) == SIGHUP) collector.rotate();
    if (wrote) {
      sleep = kShortestSleep_us;
      continue;
    }
    if (!collector.busy()) idle_us += sleep;
    sleep = std::min(sleep * 5 / 4, kLongestSleep_us);
  }
}

int run(const char* directory) {
  std::uint64_t run_id = 0;
  if (!parse_run_id(getenv(kRunIdVariable), &run_id)) return kUsage;
  bool asked = false;
  Result<Options> options = load_from_environment(&asked);
  if (!options) options = Options();  // the host has said what is wrong; its events are still to be kept
  if (!options.value().set("output", directory, "argument")) return kUsage;
  Result<std::unique_ptr<Collector>> collector = Collector::open(options.value(), run_id);
  if (!collector) return EXIT_FAILURE;
  (void)collector.value()->add_sinks(options.value());  // the summary tells; the events are to be kept all the same
  if (chdir("/") != 0) return EXIT_FAILURE;             // the host's directory must stay removable
  collector.value()->recover();
  ControlSocket control(options.value().get("output"));
  do {
    collect(*collector.value(), control);
    collector.value()->settle_processors();
  } while (collector.value()->busy());  // another process of the run has come meanwhile
  return collector.value()->finish() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace watcher

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: watcher-collector OUTPUT_DIR\nStarted by Watcher itself; WATCHER_RUN_ID names the run.\n");
    return watcher::kUsage;
  }
  setsid();
  watcher::let_go_of_descriptors();
  watcher::let_go_of_signals();
  return watcher::has_descriptors() ? watcher::run(argv[1]) : EXIT_FAILURE;
}
