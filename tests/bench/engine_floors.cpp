#include "tests/bench/engine_floors.h"

#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>

namespace watcher::test {
namespace {

void handle(int signal_number, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  sigaction(signal_number, &action, nullptr);
}

void skip_store(int, siginfo_t*, void* context) {
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] += 3;  // mov %rax, (%rdi)
}
void end_step(int, siginfo_t*, void* context) {
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~0x100;
}
void take_trap(int, siginfo_t*, void*) {}

void skipped_stores(void* page, int count) {
  for (int i = 0; i < count; ++i) __asm__ volatile(".byte 0x48, 0x89, 0x07" : : "a"(i), "D"(page) : "memory");
}

}  // namespace

double fault_floor(int threads, int count) {
  handle(SIGSEGV, skip_store);
  void* page = map_pages(1, PROT_READ);
  const double spent = cost(1, [=](int) { on_threads(threads, [=](int) { skipped_stores(page, count); }); });
  signal(SIGSEGV, SIG_DFL);
  munmap(page, kPageBytes);
  return spent / count / threads;
}

namespace {

double step_floor() {
  handle(SIGTRAP, end_step);
  const double spent = cost(2000, [](int) {
    __asm__ volatile("pushf\n orl $0x100, (%%rsp)\n popf\n nop" : : : "memory", "cc");
  });
  signal(SIGTRAP, SIG_DFL);
  return spent;
}

}  // namespace

double breakpoint_floor() {
  alignas(8) static std::uint64_t word;
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_BREAKPOINT;
  attributes.size = sizeof attributes;
  attributes.bp_type = HW_BREAKPOINT_W;
  attributes.bp_addr = reinterpret_cast<std::uint64_t>(&word);
  attributes.bp_len = 8;
  attributes.sample_period = 1;
  attributes.exclude_kernel = attributes.exclude_hv = 1;
  attributes.sigtrap = attributes.remove_on_exec = 1;
  const int event = static_cast<int>(syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
  if (event < 0) return 0;
  handle(SIGTRAP, take_trap);
  const double spent =
      cost(2000, [](int i) { *static_cast<volatile std::uint64_t*>(&word) = static_cast<unsigned>(i); });
  close(event);
  signal(SIGTRAP, SIG_DFL);
  return spent;
}

namespace {

/// On one CPU.
double round_trip_of_one(int count) {
  int there[2], back[2];
  if (pipe(there) != 0 || pipe(back) != 0) abort();
  cpu_set_t before, one;
  sched_getaffinity(0, sizeof before, &before);
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  sched_setaffinity(0, sizeof one, &one);
  std::thread handler([&] {
    char byte;
    while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1) {
    }
  });
  const double spent = cost(count, [&](int) {
    char byte = 0;
    if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) abort();
  });
  close(there[1]);
  handler.join();
  for (const int end : {there[0], back[0], back[1]}) close(end);
  sched_setaffinity(0, sizeof before, &before);
  return spent;
}

/// A round trip of several threads that share one handler, wherever the scheduler puts them.
double round_trip_of_threads(int count) {
  int there[2], back[kThreads][2];
  if (pipe(there) != 0) abort();
  for (auto& ends : back)
    if (pipe(ends) != 0) abort();
  std::thread handler([&] {
    unsigned char thread;
    while (read(there[0], &thread, 1) == 1 && write(back[thread][1], &thread, 1) == 1) {
    }
  });
  const double spent = cost(1, [&](int) {
    on_threads(kThreads, [&](int t) {
      auto byte = static_cast<unsigned char>(t);
      for (int i = 0; i < count; ++i)
        if (write(there[1], &byte, 1) != 1 || read(back[t][0], &byte, 1) != 1) abort();
    });
  });
  close(there[1]);
  handler.join();
  close(there[0]);
  for (auto& ends : back)
    for (const int end : ends) close(end);
  return spent / count / kThreads;
}

void floor_line(const char* what, double ns) {
  if (ns > 0)
    printf("  %-44s %9.1f ns\n", what, ns);
  else
    printf("  %-44s not to be had here\n", what);
}

}  // namespace

double round_trip_floor(int threads, int count) {
  return threads == 1 ? round_trip_of_one(count) : round_trip_of_threads(count);
}

Floors measure_floors() {
  [[maybe_unused]] static volatile std::uint64_t word;
  void* page = map_pages(3);
  const Floors floors = {cost(kStores * 50, [](int i) { word = static_cast<unsigned>(i); }),
                         cost(kStores, [](int) { syscall(SYS_getppid); }),
                         cost(kStores,
                              [page](int i) {
                                mprotect(page, kPageBytes, PROT_READ);
                                mprotect(page, kPageBytes, PROT_READ | PROT_WRITE);
                                *static_cast<volatile int*>(page) = i;
                              }),
                         fault_floor(1),
                         fault_floor(kThreads),
                         round_trip_floor(1),
                         round_trip_floor(kThreads),
                         step_floor(),
                         breakpoint_floor()};
  printf("floors\n");
  floor_line("plain store", floors.store);
  floor_line("system call", floors.system_call);
  floor_line("mprotect there and back, and a store", floors.protect_pair);
  floor_line("SIGSEGV, delivery and return", floors.fault);
  floor_line("the same on 4 threads at once", floors.fault_of_threads);
  floor_line("round trip to a thread on the same CPU", floors.round_trip);
  floor_line("the same of 4 threads with one handler", floors.round_trip_of_threads);
  floor_line("single step, delivery and return", floors.step);
  floor_line("debug register, delivery and return", floors.breakpoint);
  return floors;
}

}  // namespace watcher::test
