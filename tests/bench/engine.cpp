// What a captured store costs, beside the floors that no engine can get under, all of it measured in this run.
//
//   bench_engine [ENGINE…]     default: inline uffd hwbp sampled
//
// Processor time of the process and of its engine's handler, median of five rounds: waiting for the other programs of a
// busy machine does not count. Elapsed time beside it, which on an idle machine shows what hand-overs from one CPU to
// another cost. Each engine has its process, for it lives as long. The ratios of single variables are medians of turns,
// each beside a floor of its own: a virtual machine's speed changes within a run.
#include <sys/wait.h>

#include <atomic>
#include <string>

#include "tests/bench/engine_floors.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

constexpr std::size_t kTurns = 25;
constexpr std::size_t kMany = 10'000;
constexpr std::uint32_t kSlots = 1u << 21;
using Words = volatile std::uint64_t*;

/// Measures an engine's floor when it is asked to, in a process of its own: the engine has taken the signals of ours.
class FloorMeter {
 public:
  explicit FloorMeter(const std::string& engine) {
    int asked[2], told[2];
    if (pipe(asked) != 0 || pipe(told) != 0) abort();
    if (fork() == 0) {
      close(asked[1]);
      for (char threads; read(asked[0], &threads, 1) == 1;) {
        const double ns = engine == "hwbp"   ? breakpoint_floor()
                          : engine == "uffd" ? fault_floor(threads, kTurn) + round_trip_floor(threads, kTurn)
                                             : fault_floor(threads, kTurn);
        if (write(told[1], &ns, sizeof ns) != sizeof ns) break;
      }
      _exit(0);
    }
    ask_ = asked[1];
    answer_ = told[0];
  }
  double measure(int threads) const {
    const char asked = static_cast<char>(threads);
    double ns = 0;
    if (write(ask_, &asked, 1) != 1 || read(answer_, &ns, sizeof ns) != sizeof ns) abort();
    return ns;
  }

 private:
  int ask_, answer_;
};

class Bench {
 public:
  Bench(const char* engine, const Floors& floors)
      : engine_(engine), floor_(floor_of(engine, floors)), word_bytes_(engine_ == "hwbp" ? 8 : 512), meter_(engine_) {
    // As in a ring that has been around once: a page's first use costs more than the stores that it holds.
    for (std::uint64_t slot = 0; slot < kSlots; slot += kPageBytes / kSlotBytes)
      *reinterpret_cast<volatile char*>(ring_->slot(slot)) = 0;
  }

  int run() {
    const int error = memory_start(ring_.get(), engine_.c_str(), nullptr);
    const std::string chosen = error == 0 ? std::string(ring_->dictionary().string(ring_.header().engine)) : "none";
    if (chosen != engine_) {
      const std::string why =
          error == 0 ? std::string(ring_->dictionary().string(ring_.header().engine_reason)) : strerror(error);
      printf("%s: not available, %s instead (%s)\n", engine_.c_str(), chosen.c_str(), why.c_str());
      return 0;
    }
    const auto handler = static_cast<pid_t>(ring_.header().handler_pid.load());
    if (handler != 0) clock_getcpuclockid(handler, &handler_clock);
    printf("%s                                              per store     floor: %.0f ns\n", engine_.c_str(), floor_);
    // hwbp has four words in all, hence the order: the single ones first, each given back.
    single("own page", memory_allocate(kPageBytes), 1, 1);
    if (engine_ == "uffd") single("the first word of a page", memory_allocate(kPageBytes), 0, 1);
    if (engine_ == "inline") single("in its place", map_pages(1), 1, 1);
    single("neighbour on the page", memory_allocate(kPageBytes), 256, 0);
    idle();
    if (engine_ == "hwbp") return 0;
    eight_variables();
    threads("4 threads, a page each", kPageBytes / 8);
    threads("4 threads, one page", 8);
    many("10,000 regions, a page each", kPageBytes);
    many("10,000 regions, 512 on a page", 8);
    return 0;
  }

 private:
  static double floor_of(const std::string& engine, const Floors& floors) {
    if (engine == "uffd") return floors.round_trip + floors.fault;
    if (engine == "hwbp") return floors.breakpoint;
    return floors.fault;
  }

  /// `events`: a round must have made that many.
  void line(const char* what, double ns, int events, double floor) {
    const bool whole = ring_.drain().size() == std::size_t{5} * static_cast<std::size_t>(events);
    printf("  %-44s %9.1f ns %6.2f x, elapsed %.1f ns%s\n", what, ns, ns / floor, last.elapsed * ns / last.processor,
           whole || engine_ == "sampled" ? "" : "  EVENTS ARE MISSING");
    fflush(stdout);
  }

  static RegionId watch(Words memory, std::size_t bytes) {
    return memory_watch(variable_of(const_cast<std::uint64_t*>(memory), bytes, 8));
  }

  __attribute__((noinline)) static void store_often(Words words, int count = kStores) {
    for (int i = 0; i < count; ++i) words[0] = static_cast<std::uint64_t>(i);
  }

  void single(const char* what, void* memory, std::size_t at, int events_a_store) {
    const RegionId region = watch(static_cast<Words>(memory) + (word_bytes_ == 8 ? 1 : 0), word_bytes_ == 8 ? 8 : 1024);
    in_turns(what, events_a_store, [=] { store_often(static_cast<Words>(memory) + at, kTurn); });
    memory_unwatch(region, Op::kCount);
  }

  /// Stores, and the floor, turn by turn.
  template <class Stores>
  void in_turns(const char* what, int events_a_store, Stores stores, int threads = 1) {
    std::array<double, kTurns> spent{}, ratios{}, elapsed{};
    for (std::size_t turn = 0; turn < kTurns; ++turn) {
      const double floor = meter_.measure(threads), start = nanoseconds(), clock = nanoseconds(CLOCK_MONOTONIC);
      stores();
      spent[turn] = (nanoseconds() - start) / (kTurn * threads);
      elapsed[turn] = (nanoseconds(CLOCK_MONOTONIC) - clock) / (kTurn * threads);
      ratios[turn] = spent[turn] / floor;
    }
    for (auto* all : {&spent, &ratios, &elapsed}) std::sort(all->begin(), all->end());
    const double ns = spent[kTurns / 2];
    last = {ns, elapsed[kTurns / 2]};
    line(what, ns, events_a_store * kTurn * threads * static_cast<int>(kTurns) / 5, ns / ratios[kTurns / 2]);
  }

  /// Something is watched, the loop stores elsewhere: nothing may be paid.
  void idle() {
    static std::uint64_t elsewhere;
    const double before = cost(100, [](int) { store_often(&elsewhere); }) / kStores;
    const RegionId region = watch(static_cast<Words>(memory_allocate(kPageBytes)), word_bytes_);
    const double with = cost(100, [](int) { store_often(&elsewhere); }) / kStores;
    memory_unwatch(region, Op::kCount);
    printf("  %-44s %9.2f ns, without a watch %.2f\n", "watched but idle: a store elsewhere", with, before);
  }

  void eight_variables() {
    const auto all = static_cast<Words>(memory_allocate(kPageBytes)) + 1;
    for (int i = 0; i < 8; ++i) watch(all + 8 * i, 64);
    in_turns("8 variables on one page", 1, [=] {
      for (int i = 0; i < kTurn; ++i) all[i & 63] = static_cast<std::uint64_t>(i);
    });
  }

  void threads(const char* what, std::size_t words_apart) {
    const auto words = static_cast<Words>(memory_allocate(kThreads * kPageBytes + kPageBytes)) + 1;
    for (std::size_t t = 0; t < kThreads; ++t) watch(words + words_apart * t, 8);
    const auto stores = [=](int t) { store_often(words + words_apart * static_cast<std::size_t>(t), kTurn); };
    in_turns(
        what, 1, [=] { on_threads(kThreads, stores); }, kThreads);
  }

  void many(const char* what, std::size_t apart) {
    const std::size_t words_apart = apart / 8;
    const auto words = static_cast<Words>(memory_allocate(kMany * apart + kPageBytes)) + 1;
    const double start = nanoseconds();
    for (std::size_t i = 0; i < kMany; ++i)
      if (watch(words + i * words_apart, 8) == 0) return line("could not be watched", 0, 0, 1);
    printf("  %-44s %9.1f ns\n", "to watch one of 10,000", (nanoseconds() - start) / kMany);
    in_turns(what, 1, [=] { store_often(words, kTurn); });
    std::size_t next = 0;
    in_turns("  each of them in turn", 1, [&] {
      for (int i = 0; i < kTurn; ++i) words[next++ % kMany * words_apart] = static_cast<unsigned>(i);
    });
  }

  CaptureRing ring_{kSlots};
  std::string engine_;
  double floor_;
  std::size_t word_bytes_;
  FloorMeter meter_;
};

int run(int argc, char** argv) {
  const Floors floors = measure_floors();
  const char* all[] = {"inline", "uffd", "hwbp", "sampled"};
  const char** engines = argc > 1 ? const_cast<const char**>(argv + 1) : all;
  const int count = argc > 1 ? argc - 1 : 4;
  int failed = 0;
  for (int i = 0; i < count; ++i) {
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      const int result = Bench(engines[i], floors).run();
      fflush(stdout);
      _exit(result);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status == 0) continue;
    printf("%s ended with wait status %#x\n", engines[i], static_cast<unsigned>(status));
    ++failed;
  }
  return failed;
}

}  // namespace
}  // namespace watcher::test

int main(int argc, char** argv) {
  return watcher::test::run(argc, argv);
}
