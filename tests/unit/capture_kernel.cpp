// The kernel-write matrix: every call into watched memory does what it does without us, and is one event.
#include <doctest/doctest.h>
#include <sys/prctl.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>

#include "preload/attached_runtime.h"
#include "runtime/capture/regions/region_map.h"
#include "tests/unit/capture_child.h"
#include "tests/unit/capture_kernel_calls.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

constexpr std::size_t kBytes = 2 * kPageBytes;
constexpr std::size_t kAt = kPageBytes - 24;  // what is longer crosses the pages
constexpr std::size_t kLeft = 12;             // before memory ends
constexpr uid_t kNobody = 65534;
constexpr const char* kNoEngine = nullptr;
constexpr unsigned char kPattern = 0x5a;

enum class Memory { kOwnPages, kInPlace, kEndsSoon };

struct Outcome {
  bool done;
  long result;
  int error;
  std::array<unsigned char, kBytes> content;
};

Outcome* shared_outcome() {
  void* memory = mmap(nullptr, sizeof(Outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (memory) Outcome{};
}

void become(uid_t user) {
  if (user == 0) return;
  EXPECT(setresgid(user, user, user) == 0);
  EXPECT(setresuid(user, user, user) == 0);
  // A program that this user started is his own to look into.
  prctl(PR_SET_DUMPABLE, 1);
}

unsigned char* buffer_in(Memory kind, bool watched) {
  if (kind == Memory::kOwnPages && watched) return static_cast<unsigned char*>(memory_allocate(kBytes));
  auto* memory = static_cast<unsigned char*>(
      mmap(nullptr, kBytes + kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  munmap(memory + kBytes, kPageBytes);
  return memory;
}

void attach_engine() {
  hooks.kernel_write_end = kernel_write_end;
  __atomic_store_n(&hooks.kernel_write_begin, &kernel_write_begin, __ATOMIC_RELEASE);
}

void check_events(const KernelCall& call, const std::vector<MemoryEvent>& events, const Outcome& outcome,
                  std::vector<unsigned char>* replayed) {
  EXPECT(chains(events, replayed));
  EXPECT(memcmp(replayed->data(), outcome.content.data(), kBytes) == 0);
  int from_kernel = 0;
  for (const MemoryEvent& event : events) {
    EXPECT(event.op == Op::kKernelWrite);
    EXPECT(event.system_call == static_cast<std::uint32_t>(call.number) + 1);
    ++from_kernel;
  }
  if (from_kernel != call.events) fprintf(stderr, "%s: %d events\n", call.name, from_kernel);
  EXPECT(from_kernel == call.events);
}

/// The call in this process, which is a child; `engine` null: as the host does it without us.
void run_call(const KernelCall& call, const char* engine, Memory kind, Outcome* outcome) {
  CaptureRing ring(1u << 12);
  const bool watched = engine != nullptr;
  if (watched) EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
  unsigned char* memory = buffer_in(kind, watched);
  EXPECT(memory != nullptr);
  memset(memory, kPattern, kBytes);
  unsigned char* at = kind == Memory::kEndsSoon ? memory + kBytes - kLeft : memory + kAt;
  if (call.prepare != nullptr) call.prepare(at);
  std::vector<unsigned char> replayed(memory, memory + kBytes);
  if (watched) {
    EXPECT(memory_watch(variable_of(memory, kBytes)) != 0);
    attach_engine();
  }
  errno = 0;
  outcome->result = call.run(at);
  outcome->error = errno;
  memcpy(outcome->content.data(), memory, kBytes);
  if (watched && kind != Memory::kEndsSoon) check_events(call, ring.drain(), *outcome, &replayed);
  outcome->done = true;
}

void compare(const KernelCall& call, const char* engine, Memory kind, uid_t user) {
  Outcome* plain = shared_outcome();
  Outcome* watched = shared_outcome();
  CAPTURE(std::string(call.name));
  const int expected = status_of_child([&] {
    become(user);
    run_call(call, kNoEngine, kind, plain);
  });
  const int status = status_of_child([&] {
    become(user);
    run_call(call, engine, kind, watched);
  });
  // Where libc itself writes past the end the host dies, watched or not.
  CHECK(status == expected);
  CHECK((plain->done || kind == Memory::kEndsSoon));
  CHECK(plain->result == watched->result);
  CHECK(plain->error == watched->error);
  // What a call leaves behind that fails half-way is nobody's business.
  const bool comparable = !call.varies && (kind != Memory::kEndsSoon || plain->result >= 0);
  if (comparable) CHECK(plain->content == watched->content);
  munmap(plain, sizeof *plain);
  munmap(watched, sizeof *watched);
}

bool engine_works(const char* engine, uid_t user) {
  return status_of_child([&] {
           become(user);
           CaptureRing ring(1u << 12);
           if (memory_start(ring.get(), engine, nullptr) != 0 ||
               ring->dictionary().string(ring.header().engine) != engine)
             _exit(1);
         }) == 0;
}

void run_matrix(Memory kind) {
  for (const char* engine : {"inline", "uffd"})
    for (const uid_t user : {uid_t{0}, kNobody}) {
      if (user == 0 ? getuid() != 0 && engine != std::string("inline") : getuid() != 0) continue;
      const bool privileged = engine == std::string("uffd");
      if (privileged && !engine_works(engine, user)) continue;
      CAPTURE(std::string(engine));
      CAPTURE(user);
      for (std::size_t i = 0; i < kKernelCallCount; ++i) compare(kKernelCalls[i], engine, kind, user);
      for (std::size_t i = 0; i < kRareCallCount; ++i) compare(kRareCalls[i], engine, kind, user);
    }
}

volatile unsigned char* handler_target = nullptr;

void store_in_handler(int) {
  *handler_target = static_cast<unsigned char>(*handler_target + 1);
}

/// A thread that has blocked everything before anything was watched, and handlers under masks that block everything.
void stores_under_full_masks() {
  CaptureRing ring(1u << 12);
  hooks.owner = getpid();
  attach_engine();
  hooks.set_action = memory_set_action;
  __atomic_store_n(
      &hooks.filter_mask, +[](sigset_t* set) { memory_filter_mask(set); }, __ATOMIC_RELEASE);
  EXPECT(memory_start(ring.get(), "inline", nullptr) == 0);
  unsigned char* memory = buffer_in(Memory::kInPlace, true);
  handler_target = memory;
  std::atomic<bool> blocked{false};
  std::atomic<bool> watched{false};
  std::thread thread([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    blocked = true;
    while (!watched) sched_yield();
    store_in_handler(0);
  });
  while (!blocked) sched_yield();
  EXPECT(memory_watch(variable_of(memory, kBytes)) != 0);
  watched = true;
  thread.join();
  struct sigaction action = {};
  action.sa_handler = store_in_handler;
  sigfillset(&action.sa_mask);
  EXPECT(sigaction(SIGUSR1, &action, nullptr) == 0);
  raise(SIGUSR1);
  raised_signal();
  sigset_t all_but_one;
  sigfillset(&all_but_one);
  sigdelset(&all_but_one, SIGUSR1);
  EXPECT(sigsuspend(&all_but_one) == -1 && errno == EINTR);
  EXPECT(memory[0] == 3);
  EXPECT(ring.drain().size() == 3);
}

}  // namespace

TEST_CASE("a store traps wherever everything is blocked") {
  CHECK(status_of_child(stores_under_full_masks) == 0);
}

TEST_CASE("calls fill watched pages of our own as they fill the host's") {
  run_matrix(Memory::kOwnPages);
}

TEST_CASE("calls fill memory that is watched in place as they fill it unwatched") {
  run_matrix(Memory::kInPlace);
}

TEST_CASE("calls into memory that ends too soon fail or stop where they would without us") {
  run_matrix(Memory::kEndsSoon);
}

}  // namespace watcher::test
