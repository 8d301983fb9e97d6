// Processors that hang, crash, flood, multiply and close what is not theirs: each ends in time, leaves no process
// behind, and whoever hands events to the chain does not wait.
//
//     campaign_processors [ROUNDS_OF_EACH_KIND [KIND…]]        in full: 770, 10,010 runs
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "config/options.h"
#include "runtime/process/processor_chain.h"
#include "runtime/process/worker_programs.h"

namespace watcher {
namespace {

using namespace std::literals;

double longest_ms = 150;
constexpr double kLongestShortMs = 1000;  // as a test, beside others, on whatever machine

constexpr const char kTorture[] = R"py(
import os, signal, sys, threading, time

def hang():
    while True:
        pass
def sleep():
    time.sleep(1000)
def stop():
    os.kill(os.getpid(), signal.SIGSTOP)
def segfault():
    os.kill(os.getpid(), signal.SIGSEGV)
def leave():
    os._exit(0)
def output():
    for _ in range(100):
        sys.stdout.write("x" * (1 << 20))
    sys.stdout.flush()
    raise ValueError
def answers():
    for _ in range(100):
        os.write(4, b"x" * (1 << 20))
def multiply():
    while True:
        try:
            os.fork()
        except OSError:
            pass
def threads():
    while True:
        try:
            threading.Thread(target=time.sleep, args=(1000,)).start()
        except RuntimeError:
            pass
def close():
    os.closerange(0, 1000)
    hang()
def stdin():
    os.close(0)
    os.close(3)
    raise ValueError
def memory():
    held = []
    while True:
        held.append(bytearray(1 << 24))
def deaf():
    for number in (1, 2, 13, 15):
        signal.signal(number, signal.SIG_IGN)
    hang()

KIND = globals()[sys.argv[1]]
def main(event):
    KIND()
    return "pass"
)py";

constexpr const char* kKinds[] = {"hang",     "sleep",   "stop",  "segfault", "leave",  "output", "answers",
                                  "multiply", "threads", "close", "stdin",    "memory", "deaf"};

double now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

constexpr const char kLine[] =
    R"({"timestamp_ns":1,"function":"f","thread_id":1,"variable_id":"7","sql_context":null,"deltas":[]})";

bool no_child_is_left() {
  for (int look = 0; look < 200; ++look) {
    const pid_t child = waitpid(-1, nullptr, WNOHANG);
    if (child < 0) return true;
    usleep(1000);
  }
  return false;
}

/// One event for a processor of that kind; milliseconds from when the worker is ready until the event is done with and
/// a hanging worker is gone.
double one_round(const ProcessorSpec& spec, const WorkerCommand& command) {
  ScriptProcessor processor(spec, command, false);
  const std::atomic<bool> stop{false};
  if (const auto started = processor.start(stop); !started) {
    fprintf(stderr, "%s\n", started.error().message.c_str());
    exit(EXIT_FAILURE);
  }
  const LineInfo info{.variable_id = 7, .bytes = sizeof kLine};
  ChainEvent event{.line = kLine, .info = &info, .annotations = {}, .extra = {}};
  const double begun = now_ms();
  const bool done = processor.process({&event, 1}, stop);
  const double took = now_ms() - begun;
  if (!done || !event.dropped || processor.counts().failed != 1) {
    fprintf(stderr, "%s: the event did not fail\n", spec.args[0].c_str());
    exit(EXIT_FAILURE);
  }
  return took;
}

bool run_kind(const Options& options, ProcessorSpec spec, const char* kind, int rounds) {
  spec.args = {kind};
  auto command = worker_command(spec, options);
  if (!command) {
    fprintf(stderr, "%s\n", command.error().message.c_str());
    return false;
  }
  std::vector<double> times;
  int left = 0;
  for (int round = 0; round < rounds; ++round) {
    times.push_back(one_round(spec, command.value()));
    left += no_child_is_left() ? 0 : 1;
  }
  std::ranges::sort(times);
  const auto late = std::ranges::count_if(times, [](double time) { return time > longest_ms; });
  printf("%-9s %6d rounds: p50 %6.1f ms, p99 %6.1f ms, longest %6.1f ms, %ld above %.0f ms, %d left a process\n", kind,
         rounds, times[times.size() / 2], times[times.size() * 99 / 100], times.back(), static_cast<long>(late),
         longest_ms, left);
  fflush(stdout);
  return late == 0 && left == 0;
}

/// How long whoever drains the rings waits for a chain whose processor hangs at every event.
bool run_handover(const Options& base, const std::string& directory, const std::string& script) {
  Options options = base;
  ProcessorSpec spec;
  spec.path = script;
  spec.args = {"hang"};
  options.processors().push_back(spec);
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  auto chain = ProcessorChain::open(options, fd);
  if (!chain) return false;
  double longest = 0;
  constexpr int kChunks = 500;
  for (int i = 0; i < kChunks; ++i) {
    EventChunk chunk{.run_id = 1, .infos = {}, .text = {}};
    for (int event = 0; event < 500; ++event) {
      chunk.text += kLine + "\n"s;
      chunk.infos.push_back({.variable_id = 7, .bytes = sizeof kLine});
    }
    const double begun = now_ms();
    const std::uint64_t lost = chain.value()->submit(&chunk);
    longest = std::max(longest, now_ms() - begun);
    if (lost != 0) return false;
    usleep(2000);
  }
  printf("handover  %6d chunks of 500 events to a processor that hangs: longest %.1f ms\n", kChunks, longest);
  chain.value()->stop();
  chain.value().reset();
  close(fd);
  return no_child_is_left() && longest < longest_ms;
}

/// `wanted`: kinds, all of them when there are none.
int run_campaign(int rounds, const std::vector<std::string>& wanted) {
  std::string directory = "/tmp/watcher-campaign.XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return EXIT_FAILURE;
  const std::string script = directory + "/torture.py";
  std::ofstream(script) << kTorture;
  chmod(script.c_str(), 0600);
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // whatever a worker leaves behind becomes ours, and is counted
  signal(SIGPIPE, SIG_IGN);
  Options options;
  if (access("/usr/bin/python3", X_OK) == 0 && !options.set("python", "/usr/bin/python3", "campaign"))
    return EXIT_FAILURE;
  ProcessorSpec spec;
  spec.path = script;
  bool good = true;
  for (const char* kind : kKinds)
    if (wanted.empty() || std::find(wanted.begin(), wanted.end(), kind) != wanted.end())
      good = run_kind(options, spec, kind, rounds) && good;
  good = run_handover(options, directory, script) && good;
  const std::string clean = "rm -rf " + directory;
  return system(clean.c_str()) == 0 && good ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace watcher

int main(int argc, char** argv) {
  if (argc == 1) watcher::longest_ms = watcher::kLongestShortMs;
  return watcher::run_campaign(argc > 1 ? atoi(argv[1]) : 3, {argv + (argc > 2 ? 2 : argc), argv + argc});
}
