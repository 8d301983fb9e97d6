// The uffd engine's handler: a process that nobody sees and nobody needs, one for each that stores; and the choice of
// the engine.
#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "tests/unit/capture_uffd.h"

namespace watcher::test {
namespace {

void each_process_sees_its_own_stores() {
  Watched watched(kPageBytes);
  watched.memory[0] = 1;
  EXPECT(watched.events().size() == 1);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  for (int round = 0; round < 10; ++round) {
    memory_before_fork();
    const pid_t child = fork();
    if (child == 0) {
      memory_after_fork_child();
      EXPECT(watched.ring->dictionary().string(watched.ring.header().engine) == "uffd");
      const std::uint64_t before = watched.ring.header().head;
      watched.memory[10] = 5;
      EXPECT(watched.ring.header().head != before);
      EXPECT(raw_syscall(SYS_getrandom, watched.memory + 20, 16, 0) == 16);
      _exit(watched.memory[40] == 0 ? 0 : 1);
    }
    memory_after_fork_parent();
    int status = -1;
    EXPECT(waitpid(child, &status, 0) == child);
    if (status != 0) fprintf(stderr, "round %d status %x\n", round, status);
    EXPECT(status == 0);
    EXPECT(watched.memory[10] == 0);
    watched.ring.drain();  // the child's, in this test's shared ring
    watched.memory[1] = static_cast<unsigned char>(round + 1);
    EXPECT(watched.events().size() == 1);
  }
  EXPECT(waitpid(-1, nullptr, 0) == -1 && errno == ECHILD);
}

/// The parent's handler holds a page's lock at any moment: the child has no use for that.
void forks_while_the_kernel_writes() {
  Watched watched(kPageBytes);
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (int t = 0; t < 2; ++t)
    writers.emplace_back([&, t] {
      for (int i = 0; !stop; ++i) raw_syscall(SYS_getrandom, watched.memory + 1000 + t * 512 + i % 64 * 8, 8, 0);
    });
  for (int round = 0; round < 60; ++round) {
    memory_before_fork();
    const pid_t child = fork();
    if (child == 0) {
      memory_after_fork_child();
      watched.memory[10] = 5;
      _exit(raw_syscall(SYS_getrandom, watched.memory + 20, 16, 0) == 16 ? 0 : 1);
    }
    memory_after_fork_parent();
    int status = -1, ms = 20'000;
    for (; waitpid(child, &status, WNOHANG) == 0 && ms > 0; --ms) usleep(1000);
    if (ms == 0) kill(child, SIGKILL);
    EXPECT(status == 0);
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
}

int count_in(const char* directory) {
  int count = 0;
  if (DIR* open = opendir(directory)) {
    while (readdir(open) != nullptr) ++count;
    closedir(open);
  }
  return count;
}

void the_host_sees_nothing() {
  const int descriptors = count_in("/proc/self/fd");
  Watched watched(kPageBytes);
  watched.memory[0] = 1;
  EXPECT(count_in("/proc/self/fd") == descriptors + 1);  // /proc/self/mem
  EXPECT(count_in("/proc/self/task") == 3);
  EXPECT(waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD);
  EXPECT(watched.events().size() == 1);
}

void few_descriptors() {
  const rlimit few = {8, 8};
  EXPECT(setrlimit(RLIMIT_NOFILE, &few) == 0);
  EXPECT(setresuid(0, 0, 0) == 0);
  Watched watched(kPageBytes, "auto");
  watched.memory[0] = 1;
  EXPECT(raw_syscall(SYS_getrandom, watched.memory + 20, 16, 0) == 16);
  EXPECT(watched.events().size() == 2);
}

void without_privilege() {
  EXPECT(setresgid(65534, 65534, 65534) == 0);
  EXPECT(setresuid(65534, 65534, 65534) == 0);
  CaptureRing ring(1u << 12);
  EXPECT(memory_start(ring.get(), "auto", nullptr) == 0);
  EXPECT(ring->dictionary().string(ring.header().engine) == "inline");
  EXPECT(ring->dictionary().string(ring.header().engine_reason).starts_with("no full-privilege userfaultfd: "));
}

/// A host that drops its privileges while it is watched.
void privilege_dropped_later() {
  Watched watched;
  EXPECT(setresgid(65534, 65534, 65534) == 0);
  EXPECT(setresuid(65534, 65534, 65534) == 0);
  watched.memory[0] = 1;
  EXPECT(raw_syscall(SYS_getrandom, watched.memory + 20, 16, 0) == 16);
  EXPECT(watched.events().size() == 2);
  void* more = memory_allocate(kPageBytes);
  EXPECT(memory_watch(variable_of(more, kPageBytes)) != 0);
}

void kill_and_go_on(int signal_number) {
  Watched watched(kPageBytes);
  const auto handler = static_cast<pid_t>(watched.ring.header().handler_pid.load());
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (int t = 0; t < 4; ++t)
    writers.emplace_back([&, t] {
      while (!stop) {
        __atomic_fetch_add(reinterpret_cast<int*>(watched.memory) + t, 1, __ATOMIC_RELAXED);
        raw_syscall(SYS_getrandom, watched.memory + 1000 + t * 8, 8, 0);
      }
    });
  usleep(50'000);
  EXPECT(kill(handler, signal_number) == 0);
  if (signal_number == SIGSTOP) {  // the collector's part
    usleep(50'000);
    EXPECT(kill(handler, SIGKILL) == 0);
  }
  for (int i = 0; i < 20'000 && watched.ring.header().handler_pid != 0; ++i) usleep(1000);
  EXPECT(watched.ring.header().handler_lost == 1);
  EXPECT(watched.ring->dictionary().string(watched.ring.header().engine) == "inline");
  stop = true;
  for (std::thread& writer : writers) writer.join();
  watched.ring.drain();
  watched.replayed.assign(watched.memory, watched.memory + kPageBytes);
  watched.memory[2000] = 9;
  EXPECT(watched.events().size() == 1);
}

bool gone_within_ms(pid_t process, int ms) {
  for (; ms > 0 && kill(process, 0) == 0; --ms) usleep(1000);
  return ms > 0;
}

/// Ends in `how`, in a child, and says which process its handler was.
pid_t handler_of_host_that(void (*how)(), bool wait) {
  int ends[2];
  EXPECT(pipe(ends) == 0);
  const pid_t host = fork();
  if (host == 0) {
    Watched watched(kPageBytes);
    watched.memory[0] = 1;
    const auto handler = static_cast<pid_t>(watched.ring.header().handler_pid.load());
    EXPECT(write(ends[1], &handler, sizeof handler) == sizeof handler);
    how();
    _exit(1);
  }
  pid_t handler = 0;
  EXPECT(read(ends[0], &handler, sizeof handler) == sizeof handler);
  if (wait) waitpid(host, nullptr, 0);
  return handler;
}

void handlers_end_with_their_hosts() {
  EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  struct sigaction reap = {};
  reap.sa_handler = SIG_IGN;
  const pid_t of_exit = handler_of_host_that([] { _exit(0); }, true);
  EXPECT(of_exit > 0);
  const pid_t of_kill = handler_of_host_that([] { raise(SIGKILL); }, true);
  const pid_t of_exec = handler_of_host_that([] { execl("/bin/sleep", "sleep", "5", nullptr); }, false);
  sigaction(SIGCHLD, &reap, nullptr);
  EXPECT(gone_within_ms(of_exit, 2000));
  EXPECT(gone_within_ms(of_kill, 2000));
  EXPECT(gone_within_ms(of_exec, 4000));
}

}  // namespace

TEST_CASE("parent and child have a handler each") {
  check(each_process_sees_its_own_stores);
}
TEST_CASE("children forked while the kernel writes to the parent's pages") {
  check(forks_while_the_kernel_writes);
}
TEST_CASE("the host has no descriptor, thread or child more") {
  check(the_host_sees_nothing);
}
TEST_CASE("a host that may have eight descriptors") {
  check(few_descriptors);
}
TEST_CASE("without privilege the choice is inline") {
  check(without_privilege);
}
TEST_CASE("privileges dropped after the first watch") {
  check(privilege_dropped_later);
}
TEST_CASE("a handler that is killed: the program goes on, later stores are events again") {
  check([] { kill_and_go_on(SIGKILL); });
}
TEST_CASE("a handler that was stopped and then killed") {
  check([] { kill_and_go_on(SIGSTOP); });
}
TEST_CASE("no handler outlives its host") {
  check(handlers_end_with_their_hosts);
}

}  // namespace watcher::test
