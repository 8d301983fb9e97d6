// The watchdog over a writer's handler process: one that works without end or is stopped dies, one that only waits for
// its turn on a processor lives.
#include <doctest/doctest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>

#include "runtime/collect/handler_watchdog.h"

namespace watcher {
namespace {

constexpr std::size_t kStackBytes = 64 * 1024;

int spin(void*) {
  for (;;) __asm__ volatile("pause");
}

/// A process that shares our memory, as a handler does its host's.
pid_t start_in_our_memory(int (*entry)(void*)) {
  auto* stack =
      static_cast<std::byte*>(mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  return clone(entry, stack + kStackBytes, CLONE_VM | SIGCHLD, nullptr);
}

/// The watchdog's looks until the handler is dead; true when it died within the time.
bool kills_within_ms(pid_t handler, int ms) {
  RingHeader header{};
  header.handler_pid = static_cast<std::uint32_t>(handler);
  header.handler_busy_since = 1;
  HandlerWatchdog watchdog;
  for (int waited = 0; waited < ms; waited += 10) {
    watchdog.look(header, static_cast<std::uint32_t>(getpid()));
    if (waitpid(handler, nullptr, WNOHANG) == handler) return true;
    constexpr timespec kTurn = {0, 10'000'000};
    nanosleep(&kTurn, nullptr);
  }
  return false;
}

void end(pid_t process) {
  kill(process, SIGKILL);
  waitpid(process, nullptr, 0);
}

void run_on_first_cpu(pid_t process) {
  cpu_set_t allowed;
  REQUIRE(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, &one);
  REQUIRE(sched_setaffinity(process, sizeof one, &one) == 0);
}

}  // namespace

TEST_CASE("a handler that works without end is killed") {
  CHECK(kills_within_ms(start_in_our_memory(spin), 20'000));
}

TEST_CASE("a handler that is stopped is killed") {
  const pid_t handler = start_in_our_memory(spin);
  REQUIRE(kill(handler, SIGSTOP) == 0);
  CHECK(kills_within_ms(handler, 20'000));
}

TEST_CASE("a handler that waits for its turn on a processor is left alone") {
  const pid_t handler = start_in_our_memory(spin);
  const sched_param none{};
  REQUIRE(sched_setscheduler(handler, SCHED_IDLE, &none) == 0);
  run_on_first_cpu(handler);
  const pid_t busy = fork();
  if (busy == 0) spin(nullptr);
  run_on_first_cpu(busy);
  // Idle against normal weight: it gets a few percent of the processor, far from the 200 ms it may use.
  CHECK_FALSE(kills_within_ms(handler, 1'500));
  end(busy);
  end(handler);
}

TEST_CASE("a process that does not live in the writer's memory is never killed") {
  const pid_t stranger = fork();
  if (stranger == 0) spin(nullptr);
  CHECK_FALSE(kills_within_ms(stranger, 1'000));
  end(stranger);
}

}  // namespace watcher
