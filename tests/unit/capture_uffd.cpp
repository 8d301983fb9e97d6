// The uffd engine: what the kernel writes to watched pages, without libc knowing of it.
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <atomic>
#include <string>
#include <thread>

#include "tests/unit/capture_uffd.h"

namespace watcher::test {
namespace {

void calls_one_by_one() {
  Watched watched;
  unsigned char* at = watched.memory + kPageBytes - 24;
  const std::size_t offset = kPageBytes - 24;
  int ends[2];
  EXPECT(pipe(ends) == 0);
  for (int round = 0; round < 200; ++round) {
    const auto seed = static_cast<unsigned char>(round * 2);
    fill_pipe(ends[1], 40, seed);
    EXPECT(raw_syscall(SYS_read, ends[0], at, 40) == 40);
    watched.expect_one("read", SYS_read, offset, 40);
    watched.memory[round] = static_cast<unsigned char>(round + 1);
    const std::vector<MemoryEvent> own = watched.events();
    EXPECT(own.size() == 1 && own[0].op == Op::kWrite);
  }
  const int file = memfd_create("content", 0);
  fill_pipe(file, 6 * kPageBytes, 3);
  EXPECT(raw_syscall(SYS_pread64, file, at, 3 * kPageBytes, 5) == 3 * kPageBytes);
  watched.expect_one("pread", SYS_pread64, offset, 3 * kPageBytes);
  iovec parts[] = {{watched.memory + 10 * kPageBytes, 100}};
  fill_pipe(ends[1], 100, 9);
  EXPECT(raw_syscall(SYS_readv, ends[0], parts, 1) == 100);
  watched.expect_one("readv", SYS_readv, 10 * kPageBytes, 100);
  int sockets[2];
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  fill_pipe(sockets[1], 77, 9);
  EXPECT(raw_syscall(SYS_recvfrom, sockets[0], watched.memory + 12 * kPageBytes, 200, 0, nullptr, nullptr) == 77);
  watched.expect_one("recv", SYS_recvfrom, 12 * kPageBytes, 77);
  EXPECT(raw_syscall(SYS_getrandom, watched.memory + 4 * kPageBytes, 4 * kPageBytes, 0) == 4 * kPageBytes);
  const std::vector<MemoryEvent> random = watched.events();
  EXPECT(random.size() == 1 && random[0].system_call == SYS_getrandom + 1);
}

void no_datagram_is_lost() {
  Watched watched(kPageBytes);
  const int receiver = socket(AF_INET, SOCK_DGRAM, 0);
  const int sender = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT(bind(receiver, reinterpret_cast<sockaddr*>(&address), length) == 0);
  EXPECT(getsockname(receiver, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  for (int i = 0; i < 100; ++i) {
    const std::string text = "datagram " + std::to_string(i + 1000);
    EXPECT(sendto(sender, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&address), length) > 0);
    EXPECT(raw_syscall(SYS_recvfrom, receiver, watched.memory, 100, 0, nullptr, nullptr) ==
           static_cast<long>(text.size()));
    EXPECT(memcmp(watched.memory, text.data(), text.size()) == 0);
    EXPECT(watched.events().size() == 1);
  }
}

/// Calls that a signal would cut short.
void nothing_comes_back_short() {
  Watched watched;
  EXPECT(raw_syscall(SYS_getrandom, watched.memory, 16384, 0) == 16384);
  EXPECT(watched.events().size() == 1);
  int sockets[2];
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  std::thread sender([&] {
    for (int i = 0; i < 2; ++i) {
      usleep(30'000);
      fill_pipe(sockets[1], 8192, static_cast<unsigned char>(i));
    }
  });
  EXPECT(raw_syscall(SYS_recvfrom, sockets[0], watched.memory, 16384, MSG_WAITALL, nullptr, nullptr) == 16384);
  sender.join();
  watched.expect_one("recv MSG_WAITALL", SYS_recvfrom, 0, 16384);
}

/// Larger than all windows together.
void shared_memory_in_its_place() {
  CaptureRing ring(1u << 12);
  EXPECT(memory_start(ring.get(), "auto", nullptr) == 0);
  auto* memory =
      static_cast<unsigned char*>(mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  std::vector<unsigned char> replayed(kPageBytes);
  EXPECT(memory_watch(variable_of(memory, kPageBytes)) != 0);
  // The handler closes by time what the kernel wrote here.
  const auto let_kernel_write = [&] {
    const std::uint64_t before = ring.header().head;
    EXPECT(raw_syscall(SYS_getrandom, memory + 20, 16, 0) == 16);
    while (ring.header().head == before) usleep(1000);
    usleep(10'000);
  };
  memory[0] = 1;
  let_kernel_write();
  memory[1] = 1;
  memory_before_fork();
  const pid_t child = fork();
  if (child == 0) {
    memory_after_fork_child();
    memory[2] = 1;
    let_kernel_write();
    _exit(0);
  }
  memory_after_fork_parent();
  int status = -1;
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
  memory[3] = 1;
  const std::vector<MemoryEvent> events = ring.drain();
  EXPECT(events.size() >= 6);  // this test's ring is shared, as the memory is
  EXPECT(chains(events, &replayed));
  EXPECT(memcmp(replayed.data(), memory, kPageBytes) == 0);
}

void a_long_read() {
  constexpr std::size_t kLong = 6u << 20;
  Watched watched(kLong);
  const int file = memfd_create("content", 0);
  fill_pipe(file, kLong, 3);
  EXPECT(raw_syscall(SYS_pread64, file, watched.memory, kLong, 0) == static_cast<long>(kLong));
  usleep(100'000);
  EXPECT(!watched.events().empty());
}

/// While one thread sleeps in a call that has begun to write, others' stores to the same page are events of theirs.
void stores_during_a_call() {
  Watched watched(kPageBytes);
  int sockets[2];
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  std::atomic<std::uint32_t> reader_id{0};
  std::thread reader([&] {
    reader_id = own_id();
    EXPECT(raw_syscall(SYS_recvfrom, sockets[0], watched.memory, 200, MSG_WAITALL, nullptr, nullptr) == 200);
  });
  fill_pipe(sockets[1], 100, 1);
  while (__atomic_load_n(&watched.memory[99], __ATOMIC_RELAXED) == 0) usleep(1000);
  // The page is open until the handler has seen the thread asleep.
  const std::atomic<std::uint64_t>& head = watched.ring.header().head;
  for (std::uint64_t before = head; head == before; usleep(1000)) ++watched.memory[2000];
  volatile unsigned char* stores = watched.memory;
  for (int i = 0; i < 50; ++i) stores[1000 + i] = 7;
  fill_pipe(sockets[1], 100, 1);
  reader.join();
  int own = 0, of_reader = 0;
  for (const MemoryEvent& event : watched.events()) {
    own += event.op == Op::kWrite && event.thread_id == own_id() && event.offset < 2000;
    of_reader += event.op == Op::kKernelWrite && event.thread_id == reader_id;
  }
  EXPECT(own == 50);
  EXPECT(of_reader >= 1 && of_reader <= 2);
}

void threads_that_read_and_store() {
  Watched watched;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      int ends[2];
      EXPECT(pipe(ends) == 0);
      unsigned char* own = watched.memory + t * 2 * kPageBytes;
      for (int i = 0; i < 300; ++i) {
        fill_pipe(ends[1], 64, static_cast<unsigned char>(i));
        EXPECT(raw_syscall(SYS_read, ends[0], own + 100, 64) == 64);
        own[i] = static_cast<unsigned char>(i + 1);
        __atomic_fetch_add(reinterpret_cast<int*>(watched.memory + 20 * kPageBytes), 1, __ATOMIC_RELAXED);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT(*reinterpret_cast<int*>(watched.memory + 20 * kPageBytes) == 1200);
  std::size_t from_kernel = 0;
  const std::vector<MemoryEvent> found = watched.events();
  for (const MemoryEvent& event : found) from_kernel += event.op == Op::kKernelWrite;
  EXPECT(from_kernel == 1200);
  EXPECT(found.size() == 3600);
}

std::atomic<int> alarms;

/// A signal pending during a fault of the kernel, and one in the middle of a store.
void a_storm_of_signals() {
  Watched watched(kPageBytes);
  static unsigned char* memory = watched.memory;
  struct sigaction action = {};
  action.sa_handler = [](int) {
    ++memory[8];
    ++alarms;
  };
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  int ends[2];
  EXPECT(pipe(ends) == 0);
  const itimerval timer = {{0, 700}, {0, 700}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  constexpr int kRounds = 5000;
  for (int i = 0; i < kRounds; ++i) {
    const int value = i + 1;
    EXPECT(write(ends[1], &value, sizeof value) == sizeof value);
    EXPECT(raw_syscall(SYS_read, ends[0], watched.memory + 64, sizeof value) == sizeof value);
    *reinterpret_cast<volatile int*>(watched.memory) = value;
  }
  const itimerval off = {};
  setitimer(ITIMER_REAL, &off, nullptr);
  int stores = 0, reads = 0;
  for (const MemoryEvent& event : watched.events()) (event.op == Op::kWrite ? stores : reads) += 1;
  EXPECT(alarms > 10);
  EXPECT(reads == kRounds);
  EXPECT(stores == kRounds + alarms);
}

void signals_all_blocked() {
  Watched watched(kPageBytes);
  sigset_t all;
  sigfillset(&all);
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, 8);
  for (int i = 0; i < 20; ++i) watched.memory[i] = 1;
  EXPECT(raw_syscall(SYS_getrandom, watched.memory + 100, 100, 0) == 100);
  usleep(200'000);
  EXPECT(!watched.events().empty());
}

// io_uring by hand: one request at a time.
struct Ring {
  int descriptor;
  io_uring_params parameters{};
  unsigned char* queue;
  io_uring_sqe* entries;

  template <class T>
  T* at(std::uint32_t offset) {
    return reinterpret_cast<T*>(queue + offset);
  }

  bool open() {
    descriptor = static_cast<int>(raw_syscall(SYS_io_uring_setup, 4, &parameters));
    if (descriptor < 0) return false;
    const std::size_t bytes = parameters.sq_off.array + 4096 + parameters.cq_off.cqes;
    queue = static_cast<unsigned char*>(
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, descriptor, IORING_OFF_SQ_RING));
    entries = static_cast<io_uring_sqe*>(mmap(nullptr, 4 * sizeof(io_uring_sqe), PROT_READ | PROT_WRITE,
                                              MAP_SHARED | MAP_POPULATE, descriptor, IORING_OFF_SQES));
    return queue != MAP_FAILED && entries != MAP_FAILED;
  }

  int read(int file, void* to, unsigned bytes, bool by_worker) {
    const std::uint32_t tail = *at<std::uint32_t>(parameters.sq_off.tail);
    const std::uint32_t index = tail & 3;
    entries[index] = {};
    entries[index].opcode = IORING_OP_READ;
    entries[index].flags = by_worker ? IOSQE_ASYNC : 0;
    entries[index].fd = file;
    entries[index].addr = reinterpret_cast<std::uint64_t>(to);
    entries[index].len = bytes;
    at<std::uint32_t>(parameters.sq_off.array)[index] = index;
    __atomic_store_n(at<std::uint32_t>(parameters.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
    EXPECT(raw_syscall(SYS_io_uring_enter, descriptor, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) == 1);
    const std::uint32_t head = *at<std::uint32_t>(parameters.cq_off.head);
    const int result = at<io_uring_cqe>(parameters.cq_off.cqes)[head & (parameters.cq_entries - 1)].res;
    __atomic_store_n(at<std::uint32_t>(parameters.cq_off.head), head + 1, __ATOMIC_RELEASE);
    return result;
  }
};

void io_uring_reads() {
  Ring io;
  if (!io.open()) return;
  Watched watched;
  int ends[2];
  EXPECT(pipe(ends) == 0);
  fill_pipe(ends[1], 600, 3);
  EXPECT(io.read(ends[0], watched.memory, 300, false) == 300);
  watched.expect_one("io_uring, inline", SYS_io_uring_enter, 0, 300);
  EXPECT(io.read(ends[0], watched.memory + 4 * kPageBytes, 300, true) == 300);
  // Its windows are closed by time: a worker that does not get its turn meanwhile is told in two events.
  while (watched.memory[4 * kPageBytes + 299] == 0) usleep(1000);
  usleep(300'000);
  for (const MemoryEvent& event : watched.events())
    EXPECT(event.op == Op::kKernelWrite && event.thread_id == 0 && event.place == 0);
}

/// Killed right after a write of the kernel that nobody has told yet: the handler still does.
void killed_after_a_write() {
  for (int round = 0; round < 5; ++round) {
    CaptureRing ring(1u << 12);
    const pid_t host = fork();
    if (host == 0) {
      Ring io;
      if (!io.open()) _exit(0);
      EXPECT(memory_start(ring.get(), "uffd", nullptr) == 0);
      auto* memory = static_cast<unsigned char*>(memory_allocate(kPageBytes));
      EXPECT(memory_watch(variable_of(memory, kPageBytes)) != 0);
      int ends[2];
      EXPECT(pipe(ends) == 0);
      fill_pipe(ends[1], 300, 3);
      EXPECT(io.read(ends[0], memory, 300, true) == 300);
      raise(SIGKILL);
    }
    int status = 0;
    EXPECT(waitpid(host, &status, 0) == host);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    EXPECT(WIFSIGNALED(status));
    while (kill(static_cast<pid_t>(ring.header().handler_pid.load()), 0) == 0) usleep(1000);
    std::vector<unsigned char> replayed(kPageBytes);
    EXPECT(chains(ring.drain(), &replayed));
    EXPECT(replayed[0] == 5 && replayed[299] == ((3 + 299 % 251 + 1) | 1));
  }
}

}  // namespace

TEST_CASE("what the kernel wrote is told after the host's death, too") {
  check(killed_after_a_write);
}
TEST_CASE("raw system calls into watched pages: one event each, of its thread, with its number") {
  check(calls_one_by_one);
}
TEST_CASE("no datagram is lost") {
  check(no_datagram_is_lost);
}
TEST_CASE("no system call comes back short") {
  check(nothing_comes_back_short);
}
TEST_CASE("a read longer than all windows together") {
  check(a_long_read);
}
TEST_CASE("shared memory in its place") {
  check(shared_memory_in_its_place);
}
TEST_CASE("stores of others during a call that sleeps are events of their own") {
  check(stores_during_a_call);
}
TEST_CASE("threads that read and store") {
  check(threads_that_read_and_store);
}
TEST_CASE("a storm of signals over stores and reads") {
  check(a_storm_of_signals);
}
TEST_CASE("with all signals blocked the program goes on, and the chain holds") {
  check(signals_all_blocked);
}
TEST_CASE("io_uring, inline and by a worker") {
  check(io_uring_reads);
}

}  // namespace watcher::test
