// Debug registers: every store to a watched word is an event behind it, pages stay as they are.
#include <doctest/doctest.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <atomic>
#include <thread>

#include "preload/attached_runtime.h"
#include "runtime/capture/engines/hwbp_engine.h"
#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

/// A page of its own: the engine under test lies in this program, too, and must not be watched.
struct alignas(kPageBytes) Words {
  volatile std::uint64_t a, b, c, d, e;
  volatile std::uint32_t half;
  volatile std::uint8_t byte, neighbour;
};
Words words;

constexpr uid_t kNobody = 65534;

struct Host {
  explicit Host(uid_t user = 0) {
    if (user != 0) EXPECT(setresuid(user, user, user) == 0);
    EXPECT(memory_start(ring.get(), "hwbp", nullptr) == 0);
    hooks.kernel_write_end = kernel_write_end;
    hooks.kernel_write_begin = kernel_write_begin;
    hooks.set_action = memory_set_action;
    hooks.owner = getpid();
  }
  RegionId watch(volatile void* address, std::size_t bytes, DictionaryRef name = 7) {
    MemoryVariable variable = variable_of(const_cast<void*>(address), bytes, static_cast<std::uint32_t>(bytes));
    variable.variable = name;
    const RegionId id = memory_watch(variable);
    EXPECT(id != 0);
    return id;
  }
  bool by_register(volatile void* address) {
    const auto begin = reinterpret_cast<std::uintptr_t>(address);
    return hwbp_watches(begin, begin + 1);
  }
  CaptureRing ring{1u << 16};
};

/// Debug registers are not to be had in every sandbox; then there is nothing to test.
bool available() {
  const int status = status_of_child([] {
    Host host;
    host.watch(&words.a, 8);
    _exit(host.by_register(&words.a) ? 0 : 77);
  });
  return WEXITSTATUS(status) != 77;
}

void every_store(uid_t user) {
  Host host(user);
  const RegionId a = host.watch(&words.a, 8);
  host.watch(&words.half, 4, 8);
  host.watch(&words.byte, 1, 9);
  EXPECT(host.by_register(&words.a) && host.by_register(&words.byte));
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    words.a = i;
    words.b = i;
    words.neighbour = 1;
  }
  words.a = 1000;  // the same again
  words.half = 5;
  words.byte = 6;
  auto events = host.ring.drain();
  EXPECT(events.size() == 1003);
  std::vector<unsigned char> content(8);
  const std::vector<MemoryEvent> of_a(events.begin(), events.begin() + 1001);
  EXPECT(chains(of_a, &content));
  EXPECT(of_a[1000].before == of_a[1000].after && of_a[999].after[0] == (1000 & 255) && of_a[0].ip != 0);
  EXPECT(events[1001].variable == 8 && events[1001].after.size() == 4 && events[1002].after[0] == 6);
  EXPECT(host.ring.header().neighbour_traps == 0);
  memory_unwatch(a, Op::kFreed);
  words.a = 3;
  events = host.ring.drain();
  EXPECT(events.size() == 1 && events[0].op == Op::kFreed);
  host.watch(&words.a, 8);
  words.a = 4;
  EXPECT(host.ring.drain().at(0).before[0] == 3);
}

void system_calls(uid_t user) {
  Host host(user);
  host.watch(&words.a, 8);
  int ends[2];
  EXPECT(pipe(ends) == 0 && write(ends[1], "abcdefghijklmnop", 16) == 16);
  EXPECT(read(ends[0], const_cast<std::uint64_t*>(&words.a), 8) == 8);
  auto events = host.ring.drain();
  EXPECT(events.size() == 1 && events[0].op == Op::kKernelWrite && events[0].system_call == SYS_read + 1);
  EXPECT(memcmp(events[0].after.data(), "abcdefgh", 8) == 0);
  if (user != 0) return;
  EXPECT(syscall(SYS_read, ends[0], &words.a, 8) == 8);  // past us: by privilege the kernel traps as well
  events = host.ring.drain();
  EXPECT(events.size() == 1 && events[0].op == Op::kKernelWrite);
  EXPECT(memcmp(events[0].after.data(), "ijklmnop", 8) == 0);
}

void what_does_not_fit() {
  Host host;
  static Words other;
  auto* block = reinterpret_cast<volatile unsigned char*>(&other);
  host.watch(&words.a, 8);
  host.watch(&words.b, 8);
  host.watch(&words.c, 8);
  host.watch(&words.d, 8);
  for (auto* word : {&words.a, &words.b, &words.c, &words.d}) *word = *word + 1;
  EXPECT(host.ring.drain().size() == 4);
  host.watch(&words.e, 8);  // a fifth: its page traps now, and with it the other four
  EXPECT(host.ring.header().regions_refused == 1);
  for (auto* word : {&words.a, &words.b, &words.c, &words.d, &words.e}) *word = *word + 1;
  EXPECT(host.ring.drain().size() == 5);
  EXPECT(!host.by_register(&words.a));
  host.watch(block + 1, 8);
  host.watch(block + 40, 3);
  EXPECT(host.ring.header().regions_refused == 3);
  block[1] = 1;
  block[40] = 1;
  EXPECT(host.ring.drain().size() == 2);
}

void several_words_at_once() {
  Host host;
  host.watch(&words.a, 8, 1);
  host.watch(&words.b, 8, 2);
  const std::uint64_t two[2] = {11, 22};
  __asm__ volatile("movups (%0), %%xmm0\n movups %%xmm0, (%1)" : : "r"(two), "r"(&words.a) : "xmm0", "memory");
  const auto events = host.ring.drain();
  EXPECT(events.size() == 2 && events[0].after[0] + events[1].after[0] == 33);
}

void threads() {
  Host host;
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  const auto store = [&](volatile std::uint64_t* word) {
    ++ready;
    while (!go) std::this_thread::yield();
    for (std::uint64_t i = 1; i <= 500; ++i) *word = i;
  };
  std::thread before([&] { store(&words.a); });
  while (ready < 1) std::this_thread::yield();
  host.watch(&words.a, 8, 1);
  host.watch(&words.b, 8, 2);
  host.watch(&words.c, 8, 3);
  std::thread after([&] { store(&words.b); });
  std::thread both[2];
  for (std::thread& thread : both)
    thread = std::thread([&] {
      while (!go) std::this_thread::yield();
      for (int i = 0; i < 500; ++i) __atomic_fetch_add(&words.c, 1, __ATOMIC_SEQ_CST);
    });
  go = true;
  before.join();
  after.join();
  for (std::thread& thread : both) thread.join();
  std::size_t of[4] = {};
  std::vector<MemoryEvent> shared;
  for (const MemoryEvent& event : host.ring.drain()) {
    ++of[event.variable];
    if (event.variable == 3) shared.push_back(event);
  }
  if (of[1] + of[2] + of[3] != 2000) fprintf(stderr, "%zu %zu %zu\n", of[1], of[2], of[3]);
  EXPECT(of[1] == 500 && of[2] == 500 && of[3] == 1000 && words.c == 1000);
  std::vector<unsigned char> content(8);
  EXPECT(chains(shared, &content) && memcmp(content.data(), const_cast<std::uint64_t*>(&words.c), 8) == 0);
}

void forked() {
  Host host;
  host.watch(&words.a, 8);
  words.a = 1;
  memory_before_fork();
  const pid_t child = fork();
  if (child == 0) {
    memory_after_fork_child();
    words.a = 100;
    words.a = 101;
    _exit(0);
  }
  memory_after_fork_parent();
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT(status == 0);
  words.a = 2;
  std::size_t of_child = 0;
  const auto events = host.ring.drain();
  for (const MemoryEvent& event : events) of_child += event.thread_id == static_cast<std::uint32_t>(child);
  EXPECT(events.size() == 4 && of_child == 2);
  const pid_t plain = fork();  // one that nobody told us of
  if (plain == 0) {
    words.a = 5;
    _exit(0);
  }
  waitpid(plain, &status, 0);
  EXPECT(status == 0 && host.ring.drain().empty());
}

volatile int traps;

/// Its own breakpoints, single steps and perf traps still reach the host.
void traps_of_the_host() {
  Host host;
  host.watch(&words.a, 8);
  struct sigaction action = {};
  action.sa_sigaction = [](int, siginfo_t*, void*) { traps = traps + 1; };
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, nullptr);
  __asm__ volatile("int3");
  EXPECT(traps == 1);
  words.a = 9;
  EXPECT(traps == 1 && host.ring.drain().size() == 1);
  raise(SIGTRAP);
  EXPECT(traps == 2);
}

void trap_blocked() {
  Host host;
  host.watch(&words.a, 8);
  sigset_t trap;
  sigemptyset(&trap);
  sigaddset(&trap, SIGTRAP);
  sigprocmask(SIG_BLOCK, &trap, nullptr);
  for (std::uint64_t i = 1; i <= 10; ++i) words.a = i;
  sigprocmask(SIG_UNBLOCK, &trap, nullptr);
  const auto events = host.ring.drain();
  EXPECT(!events.empty() && events.back().after[0] == 10 && (events.front().flags & kInexact) != 0);
  std::vector<unsigned char> content(8);
  EXPECT(chains(events, &content));
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGTRAP, &ignore, nullptr);
  words.a = 77;
  EXPECT(host.ring.drain().size() == 1);
}

void refused_by(const char* how) {
  if (strcmp(how, "seccomp") == 0) {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_perf_event_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program = {4, code};
    EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
  } else {
    const rlimit limit = {5, 5};
    EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  }
  Host host;
  host.watch(&words.a, 8);
  words.a = 5;
  EXPECT(!host.by_register(&words.a) && host.ring.drain().size() == 1);
}

/// A host that closes everything and reuses our numbers: its files stay open.
void descriptors_are_not_trusted() {
  Host host;
  const RegionId region = host.watch(&words.a, 8);
  close_range(3, ~0u, 0);
  const int file = memfd_create("host", 0);
  for (int i = 900; i < 910; ++i) dup2(file, i);
  words.a = 2;
  memory_unwatch(region, Op::kCount);
  for (int i = 900; i < 910; ++i) EXPECT(fcntl(i, F_GETFD) >= 0);
}

}  // namespace

TEST_CASE("debug registers") {
  if (!available()) {
    MESSAGE("there are none here");
    return;
  }
  for (const uid_t user : {uid_t{0}, kNobody}) {
    if (getuid() != 0 && user != 0) continue;
    CAPTURE(user);
    CHECK(status_of_child([=] { every_store(user); }) == 0);
    CHECK(status_of_child([=] { system_calls(getuid() == 0 ? user : kNobody); }) == 0);
  }
  CHECK(status_of_child(several_words_at_once) == 0);
  CHECK(status_of_child(threads) == 0);
  CHECK(status_of_child(forked) == 0);
  CHECK(status_of_child(traps_of_the_host) == 0);
  CHECK(status_of_child(trap_blocked) == 0);
  CHECK(status_of_child(what_does_not_fit) == 0);
  CHECK(status_of_child(descriptors_are_not_trusted) == 0);
}

TEST_CASE("without debug registers the page does it") {
  CHECK(status_of_child([] { refused_by("seccomp"); }) == 0);
  CHECK(status_of_child([] { refused_by("descriptors"); }) == 0);
}

}  // namespace watcher::test
