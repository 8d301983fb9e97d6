// Bar 6: watched writes under everything a host does with signals. Nobody dies who would not have died, no store is
// lost or told twice, and sigaction tells the host what the host set.
//
//   signals [--full]     1,000,000 writes an engine instead of 40,000
#include <errno.h>
#include <setjmp.h>
#include <sys/time.h>
#include <time.h>

#include <atomic>
#include <string>
#include <thread>

#include "preload/attached_runtime.h"
#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

using Words = volatile std::uint64_t*;

constexpr int kPeriodUs = 1000;
constinit int stores_a_scenario = 5'000;
constinit const char* engine = "inline";
constinit bool own_pages = true;

Words words;
std::atomic<std::uint64_t> ticks;
sigjmp_buf escape;
int faults_seen;

/// A ring and a watched page, and whoever stores there: what every scenario works on and is judged by.
class Ground {
 public:
  Ground() : ring_(1u << 20) {
    hooks.owner = getpid();
    hooks.set_action = memory_set_action;
    __atomic_store_n(
        &hooks.filter_mask, +[](sigset_t* set) { memory_filter_mask(set); }, __ATOMIC_RELEASE);
    EXPECT(memory_start(ring_.get(), engine, nullptr) == 0);
    EXPECT(ring_->dictionary().string(ring_.header().engine) == engine);
    void* memory = own_pages ? memory_allocate(kPageBytes)
                             : mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    words = static_cast<Words>(memory);
    replayed_.resize(kPageBytes);
    EXPECT(memory_watch(variable_of(memory, kPageBytes, 8)) != 0);
  }

  /// Every store so far is one event: `stored` of the scenario, and those of the handlers.
  void judge(std::uint64_t stored) {
    const std::vector<MemoryEvent> events = ring_.drain();
    EXPECT(chains(events, &replayed_));
    EXPECT(memcmp(replayed_.data(), const_cast<std::uint64_t*>(words), kPageBytes) == 0);
    if (events.size() != stored + ticks)
      fprintf(stderr, "%zu events, %lu stores and %lu of handlers\n", events.size(), stored, ticks.load());
    EXPECT(events.size() == stored + ticks);
    EXPECT(words[1] == ticks);
    EXPECT(ring_.header().dropped == 0);
  }

 private:
  CaptureRing ring_;
  std::vector<unsigned char> replayed_;
};

void count_tick(int) {
  words[1] = words[1] + 1;
  ++ticks;
}

void handle(int signal_number, void (*handler)(int), int flags = SA_RESTART) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  // one handler must not come between the load and the store of another
  for (const int other : {SIGALRM, SIGUSR1, SIGUSR2, SIGRTMIN + 1}) sigaddset(&action.sa_mask, other);
  EXPECT(sigaction(signal_number, &action, nullptr) == 0);
}

/// For threads that are started now, or no longer: the timers' signals are for the one that stores.
void block_alarms(int how) {
  sigset_t timers;
  sigemptyset(&timers);
  sigaddset(&timers, SIGALRM);
  pthread_sigmask(how, &timers, nullptr);
}

void start_interval_timer() {
  handle(SIGALRM, count_tick);
  const itimerval period = {{0, kPeriodUs}, {0, kPeriodUs}};
  EXPECT(setitimer(ITIMER_REAL, &period, nullptr) == 0);
}

timer_t start_posix_timer(int signal_number) {
  handle(signal_number, count_tick);
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = signal_number;
  timer_t timer;
  EXPECT(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  const itimerspec period = {{0, kPeriodUs * 1000}, {0, kPeriodUs * 1000}};
  EXPECT(timer_settime(timer, 0, &period, nullptr) == 0);
  return timer;
}

void stop_interval_timer() {
  const itimerval off = {};
  setitimer(ITIMER_REAL, &off, nullptr);
}

void store(int from, int to) {
  for (int i = from; i < to; ++i) words[2 + i % 400] = static_cast<std::uint64_t>(i + 1);
}

void under_interval_timer() {
  Ground ground;
  start_interval_timer();
  store(0, stores_a_scenario);
  stop_interval_timer();
  ground.judge(static_cast<std::uint64_t>(stores_a_scenario));
}

void under_posix_timers() {
  Ground ground;
  const timer_t first = start_posix_timer(SIGRTMIN + 1);
  const timer_t second = start_posix_timer(SIGUSR2);
  start_interval_timer();
  store(0, stores_a_scenario);
  stop_interval_timer();
  timer_delete(first);
  timer_delete(second);
  ground.judge(static_cast<std::uint64_t>(stores_a_scenario));
}

/// Signals from another thread, as fast as they go, with handlers that may interrupt each other.
void under_fire() {
  Ground ground;
  handle(SIGUSR1, count_tick);
  handle(SIGUSR2, count_tick, SA_RESTART | SA_NODEFER);
  const pthread_t writer = pthread_self();
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    while (!stop) {
      pthread_kill(writer, SIGUSR1);
      pthread_kill(writer, SIGUSR2);
      usleep(100);
    }
  });
  store(0, stores_a_scenario);
  stop = true;
  sender.join();
  ground.judge(static_cast<std::uint64_t>(stores_a_scenario));
}

volatile int* nowhere() {
  std::uintptr_t address = 64;
  __asm__("" : "+r"(address));  // the compiler need not know
  return reinterpret_cast<volatile int*>(address);
}

void leave_fault(int, siginfo_t* info, void*) {
  EXPECT(info->si_addr == nowhere());
  ++faults_seen;
  words[0] = words[0] + 1;  // in the handler of the very signal we live on
  siglongjmp(escape, 1);
}

__attribute__((noinline)) void fault_once() {
  if (sigsetjmp(escape, 1) == 0) *nowhere() = 1;
}

void with_fault_handler_of_its_own() {
  Ground ground;
  struct sigaction action = {};
  action.sa_sigaction = leave_fault;
  action.sa_flags = SA_SIGINFO;
  EXPECT(sigaction(SIGSEGV, &action, nullptr) == 0);
  start_interval_timer();
  int faults = 0;
  for (int i = 0; i < stores_a_scenario; i += 50) {
    store(i, i + 50);
    ++faults;
    fault_once();
    EXPECT(faults_seen == faults);
  }
  stop_interval_timer();
  ground.judge(static_cast<std::uint64_t>(stores_a_scenario + faults));
}

void with_swapped_stacks() {
  Ground ground;
  static unsigned char memory[2][64 << 10];
  start_interval_timer();
  handle(SIGALRM, count_tick, SA_RESTART | SA_ONSTACK);
  for (int i = 0; i < stores_a_scenario; i += 20) {
    stack_t stack = {memory[i / 20 % 2], 0, sizeof memory[0]};
    if (i / 20 % 3 == 2) stack.ss_flags = SS_DISABLE;
    EXPECT(sigaltstack(&stack, nullptr) == 0);
    store(i, i + 20);
    stack_t now = {};
    EXPECT(sigaltstack(nullptr, &now) == 0);
    EXPECT(((now.ss_flags & SS_DISABLE) != 0) == (i / 20 % 3 == 2));
    EXPECT((now.ss_flags & SS_DISABLE) != 0 || now.ss_sp == stack.ss_sp);
  }
  stop_interval_timer();
  ground.judge(static_cast<std::uint64_t>(stores_a_scenario));
}

/// What has no operand that could be redirected is single-stepped.
void push_to_watched() {
  __asm__ volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n push $77\n mov %%rbx, %%rsp"
                   :
                   : "r"(words + 500)
                   : "rbx", "memory");
  words[499] = 0;
}

void with_trap(bool ignored) {
  Ground ground;
  if (ignored) {
    signal(SIGTRAP, SIG_IGN);
  } else {
    sigset_t trap;
    sigemptyset(&trap);
    sigaddset(&trap, SIGTRAP);
    sigprocmask(SIG_BLOCK, &trap, nullptr);
  }
  // while the stack pointer stands in the watched page a signal needs another stack
  static unsigned char memory[64 << 10];
  const stack_t stack = {memory, 0, sizeof memory};
  sigaltstack(&stack, nullptr);
  int pushes = 0;
  for (int i = 0; i < stores_a_scenario; i += 100) {
    start_interval_timer();
    store(i, i + 100);
    stop_interval_timer();
    push_to_watched();
    ++pushes;
  }
  struct sigaction now = {};
  sigaction(SIGTRAP, nullptr, &now);
  EXPECT(now.sa_handler == (ignored ? SIG_IGN : SIG_DFL));
  ground.judge(static_cast<std::uint64_t>(stores_a_scenario + 2 * pushes));
}

void with_all_blocked() {
  Ground ground;
  start_interval_timer();
  sigset_t all, previous, reported;
  sigfillset(&all);
  for (int i = 0; i < stores_a_scenario; i += 100) {
    EXPECT(sigprocmask(SIG_BLOCK, &all, &previous) == 0);
    store(i, i + 100);
    EXPECT(sigprocmask(SIG_SETMASK, &previous, &reported) == 0);
    for (const int signal_number : {SIGSEGV, SIGBUS, SIGTRAP, SIGALRM, SIGUSR1})
      EXPECT(sigismember(&reported, signal_number) == 1);
    EXPECT(sigismember(&previous, SIGSEGV) == 0);
  }
  stop_interval_timer();
  ground.judge(static_cast<std::uint64_t>(stores_a_scenario));
}

void on_nothing(int) {}

/// The host changes its mind about our signals all the time, from another thread.
void while_actions_change() {
  Ground ground;
  std::atomic<bool> stop{false};
  block_alarms(SIG_BLOCK);
  std::thread changer([&] {
    for (int i = 0; !stop; ++i) {
      for (const int signal_number : {SIGSEGV, SIGBUS, SIGTRAP}) {
        struct sigaction action = {}, before = {}, after = {};
        action.sa_handler = i % 3 == 0 ? on_nothing : i % 3 == 1 ? SIG_IGN : SIG_DFL;
        action.sa_flags = i % 2 == 0 ? SA_ONSTACK : SA_RESETHAND;
        sigaddset(&action.sa_mask, SIGUSR1 + i % 2);
        EXPECT(sigaction(signal_number, &action, &before) == 0);
        EXPECT(sigaction(signal_number, nullptr, &after) == 0);
        EXPECT(after.sa_handler == action.sa_handler);
        EXPECT((static_cast<unsigned>(after.sa_flags) & (SA_ONSTACK | SA_RESETHAND | SA_SIGINFO | SA_NODEFER)) ==
               static_cast<unsigned>(action.sa_flags));
        for (int other = 1; other < SIGRTMIN; ++other)
          EXPECT(sigismember(&after.sa_mask, other) == sigismember(&action.sa_mask, other));
      }
      usleep(50);
    }
  });
  block_alarms(SIG_UNBLOCK);
  start_interval_timer();
  store(0, stores_a_scenario);
  stop_interval_timer();
  stop = true;
  changer.join();
  ground.judge(static_cast<std::uint64_t>(stores_a_scenario));
}

void crash(int signal_number) {
  Ground ground;
  start_interval_timer();
  store(0, 500);
  volatile int zero = 0;
  switch (signal_number) {
    case SIGSEGV:
      *nowhere() = 1;
      break;
    case SIGFPE:
      __asm__ volatile("xor %%edx, %%edx\n divl %0" : : "m"(zero) : "eax", "edx");
      break;
    case SIGILL:
      __asm__ volatile("ud2");
      break;
    case SIGTRAP:
      __asm__ volatile("int3");
      break;
    case SIGBUS: {
      const int file = memfd_create("short", 0);
      auto* page = static_cast<volatile char*>(mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
      *page = 1;
      break;
    }
    default:
      raise(signal_number);
  }
  _exit(1);
}

struct Scenario {
  const char* name;
  void (*run)();
};
constexpr Scenario kScenarios[] = {
    {"setitimer", under_interval_timer},
    {"three timers", under_posix_timers},
    {"signals of another thread", under_fire},
    {"a SIGSEGV handler of the host's", with_fault_handler_of_its_own},
    {"swapped signal stacks", with_swapped_stacks},
    {"SIGTRAP blocked", [] { with_trap(false); }},
    {"SIGTRAP ignored", [] { with_trap(true); }},
    {"everything blocked", with_all_blocked},
    {"actions that change", while_actions_change},
};

bool engine_works() {
  return status_of_child([] { Ground ground; }) == 0;
}

int run_engine() {
  int deaths = 0;
  for (const Scenario& scenario : kScenarios) {
    const int status = status_of_child([&] {
      alarm(0);  // an interval timer of the scenario's own is the same clock
      scenario.run();
    });
    if (status == 0) continue;
    ++deaths;
    printf("FAILED: %s%s, %s: wait status %#x\n", engine, own_pages ? "" : " in place", scenario.name,
           static_cast<unsigned>(status));
  }
  for (const int signal_number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGTERM}) {
    const int status = status_of_child([&] { crash(signal_number); });
    if (WIFSIGNALED(status) && WTERMSIG(status) == signal_number) continue;
    ++deaths;
    printf("FAILED: %s: a crash by signal %d has wait status %#x\n", engine, signal_number,
           static_cast<unsigned>(status));
  }
  return deaths;
}

int run(bool full) {
  constexpr int kCount = static_cast<int>(std::size(kScenarios));
  stores_a_scenario = (full ? 1'000'000 : 40'000) / kCount / 100 * 100 + 100;
  int failures = 0;
  for (const auto& [name, own] : {std::pair{"inline", true}, {"inline", false}, {"uffd", true}}) {
    engine = name;
    own_pages = own;
    if (std::string("uffd") == name && !engine_works()) {
      printf("uffd: not available here, skipped\n");
      continue;
    }
    const int failed = run_engine();
    failures += failed;
    printf("%s%s: %d watched writes in %d scenarios and 7 crashes, %d failures\n", name, own ? "" : " in place",
           stores_a_scenario * kCount, kCount, failed);
    fflush(stdout);
  }
  printf("%s\n", failures == 0 ? "PASSED" : "FAILED");
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace watcher::test

int main(int argc, char** argv) {
  return watcher::test::run(argc > 1 && std::string(argv[1]) == "--full");
}
