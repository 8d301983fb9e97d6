// What a captured store costs over what no engine can avoid: the delivery of a SIGSEGV and the return from it.
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include <cstdio>

#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

constexpr int kStores = 100'000;

double nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

void skip_store(int, siginfo_t*, void* context) {
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] += 3;  // mov %rax, (%rdi)
}

double bare_signal() {
  void* page = mmap(nullptr, kPageBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct sigaction action = {};
  struct sigaction previous = {};
  action.sa_sigaction = skip_store;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &previous);
  const double start = nanoseconds();
  for (int i = 0; i < kStores; ++i) __asm__ volatile(".byte 0x48, 0x89, 0x07" : : "a"(i), "D"(page) : "memory");
  const double spent = nanoseconds() - start;
  sigaction(SIGSEGV, &previous, nullptr);
  return spent / kStores;
}

double captured(CaptureRing& ring, volatile std::uint64_t* word) {
  const double start = nanoseconds();
  for (int i = 0; i < kStores; ++i) word[i & 63] = static_cast<std::uint64_t>(i);
  const double spent = nanoseconds() - start;
  if (ring.drain().size() != kStores) printf("events are missing\n");
  return spent / kStores;
}

void report(const char* what, double ns, double floor) {
  printf("%-44s %8.0f ns  %5.2fx\n", what, ns, ns / floor);
}

}  // namespace

int run(int argc, char** argv) {
  const double floor = bare_signal();
  report("bare SIGSEGV, delivery and return", floor, floor);
  CaptureRing ring(1u << 20);
  if (memory_start(ring.get(), argc > 1 ? argv[1] : "inline", nullptr) != 0) return 1;
  auto* own = static_cast<std::uint64_t*>(memory_allocate(kPageBytes));
  memory_watch(variable_of(own, 512, 8));
  report("captured, pages of our own", captured(ring, own), floor);
  void* place = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memory_watch(variable_of(place, 512, 8));
  report("captured, in its place", captured(ring, static_cast<std::uint64_t*>(place)), floor);
  const double start = nanoseconds();
  for (int i = 0; i < kStores; ++i) static_cast<volatile std::uint64_t*>(place)[500] = 1;
  report("neighbour, in its place", (nanoseconds() - start) / kStores, floor);
  return 0;
}

}  // namespace watcher::test

int main(int argc, char** argv) {
  return watcher::test::run(argc, argv);
}
