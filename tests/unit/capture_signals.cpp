// The host's own signals are none the wiser: its handlers, its masks, its deaths.
#include <doctest/doctest.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

/// What the shim does with the host's sigaction.
int host_sigaction(int signal_number, const struct sigaction* action, struct sigaction* previous) {
  int result = 0;
  if (memory_set_action(signal_number, action, previous, &result) != 0) return result;
  return sigaction(signal_number, action, previous);
}

struct Watched {
  explicit Watched(const char* engine = "inline", PlaceOfWriter place = nullptr) {
    EXPECT(memory_start(ring.get(), engine, place) == 0);
    words = static_cast<std::uint64_t*>(memory_allocate(2 * kPageBytes));
    EXPECT(memory_watch(variable_of(const_cast<std::uint64_t*>(words), 2 * kPageBytes, 8)) != 0);
  }
  CaptureRing ring{1u << 14};
  volatile std::uint64_t* words = nullptr;
};

void* unmapped_page() {
  void* page = mmap(nullptr, kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return page;
}

sigjmp_buf escape;
siginfo_t seen;
int seen_count;
void* seen_stack;
sigset_t seen_mask;
std::uint64_t seen_rip;

void remember_and_leave(int, siginfo_t* info, void* context) {
  int local = 0;
  seen = *info;
  seen_stack = &local;
  ++seen_count;
  sigprocmask(SIG_BLOCK, nullptr, &seen_mask);
  seen_rip = static_cast<std::uint64_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  siglongjmp(escape, 1);
}

void make_writable_and_return(int, siginfo_t* info, void*) {
  ++seen_count;
  mprotect(reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(info->si_addr) & ~(kPageBytes - 1)), kPageBytes,
           PROT_READ | PROT_WRITE);
}

struct sigaction action_of(void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | flags;
  sigaddset(&action.sa_mask, SIGUSR1);
  return action;
}

void host_handler_installed(bool before_watching, bool alternate_stack) {
  static unsigned char stack_memory[1 << 16];
  const stack_t stack = {stack_memory, 0, sizeof stack_memory};
  sigaltstack(&stack, nullptr);
  struct sigaction action = action_of(remember_and_leave, alternate_stack ? SA_ONSTACK : 0);
  if (before_watching) sigaction(SIGSEGV, &action, nullptr);
  Watched watched;
  watched.words[0] = 1;
  if (!before_watching) host_sigaction(SIGSEGV, &action, nullptr);
  auto* bad = static_cast<volatile char*>(unmapped_page());
  for (int round = 1; round <= 3; ++round) {
    if (sigsetjmp(escape, 1) == 0) bad[5] = 1;
    EXPECT(seen_count == round);
    EXPECT(seen.si_addr == bad + 5 && seen.si_signo == SIGSEGV && seen.si_code == SEGV_ACCERR);
    EXPECT(sigismember(&seen_mask, SIGUSR1) == 1);
    EXPECT(sigismember(&seen_mask, SIGUSR2) == 0);
    const bool on_stack = seen_stack >= stack_memory && seen_stack < stack_memory + sizeof stack_memory;
    EXPECT(on_stack == alternate_stack);
    watched.words[0] = static_cast<std::uint64_t>(round + 1);
  }
  EXPECT(watched.ring.drain().size() == 4);
}

void host_handler_repairs() {
  struct sigaction action = action_of(make_writable_and_return, 0);
  Watched watched;
  host_sigaction(SIGSEGV, &action, nullptr);
  auto* page = static_cast<volatile char*>(unmapped_page());
  page[9] = 3;
  EXPECT(page[9] == 3 && seen_count == 1);
  watched.words[1] = 2;
  EXPECT(watched.ring.drain().size() == 1);
}

void action_is_reported_back() {
  Watched watched;
  struct sigaction previous = {};
  host_sigaction(SIGSEGV, nullptr, &previous);
  EXPECT(previous.sa_handler == SIG_DFL);
  struct sigaction action = action_of(remember_and_leave, SA_RESETHAND);
  host_sigaction(SIGSEGV, &action, &previous);
  EXPECT(previous.sa_handler == SIG_DFL);
  host_sigaction(SIGSEGV, nullptr, &previous);
  EXPECT(previous.sa_sigaction == remember_and_leave);
  EXPECT((previous.sa_flags & (SA_SIGINFO | SA_RESETHAND | SA_ONSTACK)) == (SA_SIGINFO | SA_RESETHAND));
  EXPECT(sigismember(&previous.sa_mask, SIGUSR1) == 1);
  if (sigsetjmp(escape, 1) == 0) *static_cast<volatile char*>(unmapped_page()) = 1;
  host_sigaction(SIGSEGV, nullptr, &previous);
  EXPECT(previous.sa_handler == SIG_DFL);
  sigset_t all;
  sigfillset(&all);
  memory_filter_mask(&all);
  EXPECT(sigismember(&all, SIGSEGV) == 0 && sigismember(&all, SIGUSR1) == 1 && sigismember(&all, SIGTRAP) == 1);
}

/// The source of a rep movs faults in the middle, as does a store half beyond the watched pages into nothing.
void faults_of_watched_stores() {
  auto* area = static_cast<unsigned char*>(
      mmap(nullptr, 4 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(area + 2 * kPageBytes, kPageBytes, PROT_NONE);
  Watched watched;
  unsigned char* own = area + kPageBytes;
  EXPECT(memory_watch(variable_of(own, kPageBytes)) != 0);
  struct sigaction action = action_of(remember_and_leave, 0);
  host_sigaction(SIGSEGV, &action, nullptr);
  unsigned char* last = own + kPageBytes - 4;
  if (sigsetjmp(escape, 1) == 0) __asm__ volatile("movq $-1, (%0)" : : "r"(last) : "memory");
  EXPECT(seen_count == 1);
  EXPECT(reinterpret_cast<std::uintptr_t>(seen.si_addr) == reinterpret_cast<std::uintptr_t>(own + kPageBytes));
  EXPECT(last[0] == 0 && last[3] == 0);
  if (sigsetjmp(escape, 1) == 0) {
    const void* from = own + kPageBytes + 10;
    void* to = own;
    std::size_t count = 10;
    __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
  }
  EXPECT(seen_count == 2 && seen.si_addr == own + kPageBytes + 10);
  if (sigsetjmp(escape, 1) == 0) __asm__ volatile("movaps %%xmm0, 1(%0)" : : "r"(own) : "memory");
  EXPECT(seen_count == 3 && seen.si_addr == nullptr);
  EXPECT(watched.ring.drain().empty());
  own[0] = 1;  // no lock was left behind
  watched.words[0] = 1;
  EXPECT(watched.ring.drain().size() == 2);
}

DictionaryRef faulting_place(void*, DictionaryRef* context) {
  *context = 5;
  volatile std::uintptr_t nowhere = 16;
  *reinterpret_cast<volatile int*>(nowhere) = 1;
  return 9;
}
DictionaryRef good_place(void* context, DictionaryRef*) {
  errno = ESRCH;
  return context != nullptr ? 9 : 8;
}

void place_is_asked() {
  Watched watched("inline", good_place);
  errno = 77;
  watched.words[0] = 1;
  EXPECT(errno == 77);
  const auto events = watched.ring.drain();
  EXPECT(events.size() == 1 && events[0].place == 9);
}

void place_may_fault() {
  Watched watched("inline", faulting_place);
  for (std::uint64_t i = 0; i < 100; ++i) watched.words[0] = i;
  const auto events = watched.ring.drain();
  EXPECT(events.size() == 100 && events[50].place == 0);
}

/// A push with the stack pointer in watched memory has no operand that could be redirected.
void push_to_watched(const Watched& watched) {
  static unsigned char stack_memory[1 << 16];
  const stack_t stack = {stack_memory, 0, sizeof stack_memory};
  sigaltstack(&stack, nullptr);
  const volatile std::uint64_t* top = watched.words + 100;
  __asm__ volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n push $77\n mov %%rbx, %%rsp" : : "r"(top) : "rbx", "memory");
  EXPECT(watched.words[99] == 77);
}

void step_with_trap_blocked() {
  Watched watched;
  sigset_t trap;
  sigemptyset(&trap);
  sigaddset(&trap, SIGTRAP);
  sigprocmask(SIG_BLOCK, &trap, nullptr);
  push_to_watched(watched);
  EXPECT(watched.ring.header().single_steps == 1);
  const auto events = watched.ring.drain();
  EXPECT(events.size() == 1 && events[0].offset == 792 && events[0].after[0] == 77);
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  EXPECT(sigismember(&now, SIGTRAP) == 1 && sigismember(&now, SIGUSR1) == 0);
}

/// A stack that is too small for us, with the host's own handler running there all the same.
alignas(16) unsigned char small_stack[1 << 13];

void mark_stack(int, siginfo_t* info, void*) {
  int local = 0;
  seen_stack = &local;
  seen = *info;
  ++seen_count;
  if (info->si_code > 0) siglongjmp(escape, 1);
}

bool on_small_stack() {
  return seen_stack >= small_stack && seen_stack < small_stack + sizeof small_stack;
}

int host_sigaltstack(const stack_t* stack, stack_t* previous) {
  int result = 0;
  return memory_set_stack(stack, previous, &result) != 0 ? result : sigaltstack(stack, previous);
}

void small_alternate_stack(bool before_watching) {
  const std::size_t bytes = getauxval(AT_MINSIGSTKSZ) + 512;
  const stack_t stack = {small_stack + 1024, 0, bytes};
  memset(small_stack, 0xaa, 1024);  // what lies below the host's stack is somebody's
  if (before_watching) EXPECT(sigaltstack(&stack, nullptr) == 0);
  Watched watched("inline", faulting_place);
  if (!before_watching) EXPECT(host_sigaltstack(&stack, nullptr) == 0);
  for (std::uint64_t i = 0; i < 100; ++i) watched.words[0] = i;
  for (int i = 0; i < 1024; ++i) EXPECT(small_stack[i] == 0xaa);
  stack_t present = {};
  EXPECT(host_sigaltstack(nullptr, &present) == 0);
  EXPECT(present.ss_sp == stack.ss_sp && present.ss_size == bytes && present.ss_flags == 0);
  struct sigaction action = action_of(mark_stack, SA_ONSTACK);
  host_sigaction(SIGSEGV, &action, nullptr);
  for (int round = 1; round <= 3; ++round) {
    if (sigsetjmp(escape, 1) == 0) *static_cast<volatile char*>(unmapped_page()) = 1;
    EXPECT(seen_count == round && on_small_stack());
    watched.words[1] = static_cast<std::uint64_t>(round);
  }
  kill(getpid(), SIGSEGV);  // one that returns
  EXPECT(seen_count == 4 && on_small_stack());
  action.sa_flags &= ~SA_ONSTACK;
  host_sigaction(SIGSEGV, &action, nullptr);
  kill(getpid(), SIGSEGV);
  EXPECT(seen_count == 5 && !on_small_stack());
  stack_t off = {nullptr, SS_DISABLE, 0};
  EXPECT(host_sigaltstack(&off, &present) == 0 && present.ss_size == bytes && present.ss_sp == stack.ss_sp);
  EXPECT(host_sigaltstack(nullptr, &present) == 0 && present.ss_flags == SS_DISABLE);
  stack_t tiny = {small_stack, 0, 100};
  EXPECT(host_sigaltstack(&tiny, nullptr) == -1 && errno == ENOMEM);
  EXPECT(host_sigaltstack(reinterpret_cast<stack_t*>(8), nullptr) == -1 && errno == EFAULT);
  watched.words[1] = 9;
  EXPECT(watched.ring.drain().size() == 104);
}

/// Threads that come and go with stacks of their own: ours are used again.
void stacks_of_many_threads() {
  Watched watched;
  for (int round = 0; round < 40; ++round) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        std::vector<unsigned char> memory(8192);
        const stack_t stack = {memory.data(), 0, memory.size()};
        EXPECT(host_sigaltstack(&stack, nullptr) == 0);
        stack_t kernels = {};
        EXPECT(sigaltstack(nullptr, &kernels) == 0 && kernels.ss_sp != memory.data());
        watched.words[i] = 1;
      });
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT(watched.ring.drain().size() == 320);
}

void step_with_trap_ignored() {
  Watched watched;
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  host_sigaction(SIGTRAP, &ignore, nullptr);
  push_to_watched(watched);
  watched.words[99] = 0;
  EXPECT((watched.ring.drain().at(0).flags & kInexact) == 0);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) std::this_thread::yield();
  });
  push_to_watched(watched);
  stop = true;
  other.join();
  const auto events = watched.ring.drain();
  EXPECT(events.size() == 1 && (events[0].flags & kInexact) != 0);
}

void crash(int signal_number) {
  Watched watched;
  watched.words[0] = 1;
  if (signal_number == SIGSEGV) *static_cast<volatile char*>(unmapped_page()) = 1;
  if (signal_number == SIGTRAP) __asm__ volatile("int3");
  if (signal_number == SIGBUS) kill(getpid(), SIGBUS);
  _exit(1);
}

void sent_and_ignored() {
  Watched watched;
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  host_sigaction(SIGSEGV, &ignore, nullptr);
  kill(getpid(), SIGSEGV);
  *static_cast<volatile char*>(unmapped_page()) = 1;  // cannot be ignored
}

}  // namespace

TEST_CASE("the host's handler gets its fault as if we were not there") {
  for (const bool before : {true, false})
    for (const bool stack : {true, false}) {
      CAPTURE(before);
      CAPTURE(stack);
      CHECK(status_of_child([&] { host_handler_installed(before, stack); }) == 0);
    }
  CHECK(status_of_child(host_handler_repairs) == 0);
}

TEST_CASE("sigaction returns what the host installed") {
  CHECK(status_of_child(action_is_reported_back) == 0);
}

TEST_CASE("a watched store that would fault in place faults, and nothing is left behind") {
  CHECK(status_of_child(faults_of_watched_stores) == 0);
}

TEST_CASE("the place of the writer is asked for, and may fault") {
  CHECK(status_of_child(place_is_asked) == 0);
  CHECK(status_of_child(place_may_fault) == 0);
}

TEST_CASE("single steps work with SIGTRAP blocked") {
  CHECK(status_of_child(step_with_trap_blocked) == 0);
}

TEST_CASE("single steps work with SIGTRAP ignored, and tell when others may have stored meanwhile") {
  CHECK(status_of_child(step_with_trap_ignored) == 0);
}

TEST_CASE("an alternate stack that is too small for us stays what the host made of it") {
  CHECK(status_of_child([] { small_alternate_stack(true); }) == 0);
  CHECK(status_of_child([] { small_alternate_stack(false); }) == 0);
  CHECK(status_of_child(stacks_of_many_threads) == 0);
}

TEST_CASE("a crash keeps its signal") {
  for (const int signal_number : {SIGSEGV, SIGTRAP, SIGBUS}) {
    CAPTURE(signal_number);
    const int status = status_of_child([&] { crash(signal_number); });
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == signal_number);
  }
  const int status = status_of_child(sent_and_ignored);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGSEGV);
}

}  // namespace watcher::test
