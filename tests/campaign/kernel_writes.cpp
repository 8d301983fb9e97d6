// Bar 8: messages by every way into watched memory, byte-exact, none lost, each one event.
//
//   kernel_writes [--full]     100,000 messages a way instead of 500
//
// `raw` goes around libc by syscall(), as Go and some libraries do: only an engine that serves the kernel's own stores
// can follow. Its events are counted, its bytes and their chain are asserted.
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <string>

#include "preload/attached_runtime.h"
#include "tests/unit/capture_child.h"
#include "tests/unit/capture_ring.h"

namespace watcher::test {
namespace {

constexpr std::size_t kMessage = 96;
constexpr std::size_t kBatch = 8;             // of recvmmsg
constexpr int kWindow = 48;                   // messages in flight: no socket's buffer overflows
constexpr std::size_t kAt = kPageBytes - 40;  // across two pages
constexpr uid_t kNobody = 65534;

struct Ends {
  int from;
  int to;
};

/// What a way needs to move one message, and how many events a full buffer may become.
struct Way {
  const char* name;
  Ends (*open)();
  long (*receive)(int from, unsigned char* at);  // fills kMessage bytes
  std::size_t messages_at_once = 1;
};

Ends open_pipe() {
  int ends[2];
  EXPECT(pipe(ends) == 0);
  return {ends[0], ends[1]};
}
Ends open_pair(int type) {
  int ends[2];
  EXPECT(socketpair(AF_UNIX, type, 0, ends) == 0);
  return {ends[0], ends[1]};
}
Ends open_internet(int type) {
  const int receiver = socket(AF_INET, type, 0);
  const int sender = socket(AF_INET, type, 0);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof name;
  EXPECT(bind(receiver, reinterpret_cast<sockaddr*>(&name), bytes) == 0);
  EXPECT(getsockname(receiver, reinterpret_cast<sockaddr*>(&name), &bytes) == 0);
  if (type == SOCK_STREAM) EXPECT(listen(receiver, 1) == 0);
  EXPECT(connect(sender, reinterpret_cast<sockaddr*>(&name), bytes) == 0);
  if (type == SOCK_DGRAM) return {receiver, sender};
  const int accepted = accept(receiver, nullptr, nullptr);
  close(receiver);
  return {accepted, sender};
}
Ends open_file() {
  const int file = memfd_create("messages", 0);
  return {file, file};
}

long receive_in_parts(int from, unsigned char* at) {
  const iovec vectors[] = {{at, 30}, {at + 30, kMessage - 30}};
  return readv(from, vectors, 2);
}
long receive_batch(int from, unsigned char* at) {
  iovec vectors[kBatch];
  mmsghdr messages[kBatch] = {};
  for (std::size_t i = 0; i < kBatch; ++i) {
    vectors[i] = {at + i * kMessage, kMessage};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  const int got = recvmmsg(from, messages, kBatch, 0, nullptr);
  for (int i = 0; i < got; ++i) EXPECT(messages[i].msg_len == kMessage);
  return got < 0 ? got : static_cast<long>(static_cast<std::size_t>(got) * kMessage);
}

constexpr Way kWays[] = {
    {"pipe", open_pipe, [](int from, unsigned char* at) -> long { return read(from, at, kMessage); }},
    {"TCP", [] { return open_internet(SOCK_STREAM); },
     [](int from, unsigned char* at) -> long { return recv(from, at, kMessage, MSG_WAITALL); }},
    {"unix stream", [] { return open_pair(SOCK_STREAM); },
     [](int from, unsigned char* at) -> long { return recv(from, at, kMessage, MSG_WAITALL); }},
    {"unix datagram", [] { return open_pair(SOCK_DGRAM); },
     [](int from, unsigned char* at) -> long { return recv(from, at, kMessage, 0); }},
    {"UDP", [] { return open_internet(SOCK_DGRAM); },
     [](int from, unsigned char* at) -> long { return recvfrom(from, at, kMessage, 0, nullptr, nullptr); }},
    {"readv", open_pipe, receive_in_parts},
    {"recvmmsg", [] { return open_internet(SOCK_DGRAM); }, receive_batch, kBatch},
    {"pread", open_file, [](int from, unsigned char* at) -> long { return pread(from, at, kMessage, 0); }},
    {"raw read", open_pipe, [](int from, unsigned char* at) { return syscall(SYS_read, from, at, kMessage); }},
    {"raw recvfrom of UDP", [] { return open_internet(SOCK_DGRAM); },
     [](int from, unsigned char* at) { return syscall(SYS_recvfrom, from, at, kMessage, 0, nullptr, nullptr); }},
};

bool is_raw(const Way& way) {
  return strncmp(way.name, "raw", 3) == 0;
}

void compose(int number, unsigned char* message) {
  for (std::size_t i = 0; i < kMessage; ++i)
    message[i] = static_cast<unsigned char>((static_cast<std::size_t>(number) * 131 + i * 7) >> (i % 3));
}

void send_message(const Way& way, const Ends& ends, int number) {
  unsigned char message[kMessage];
  compose(number, message);
  const ssize_t sent =
      way.open == open_file ? pwrite(ends.to, message, kMessage, 0) : write(ends.to, message, kMessage);
  EXPECT(sent == static_cast<ssize_t>(kMessage));
}

struct Judge {
  CaptureRing& ring;
  std::vector<unsigned char> replayed;
  std::size_t events = 0;

  void look() {
    const std::vector<MemoryEvent> now = ring.drain();
    EXPECT(chains(now, &replayed));
    for (const MemoryEvent& event : now) EXPECT(event.op == Op::kKernelWrite);
    events += now.size();
  }
};

void transfer(const Way& way, const char* engine, bool own_pages, int messages, uid_t user) {
  if (user != 0) EXPECT(setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0);
  prctl(PR_SET_DUMPABLE, 1);
  alarm(1800);
  CaptureRing ring(1u << 18);
  EXPECT(memory_start(ring.get(), engine, nullptr) == 0);
  EXPECT(ring->dictionary().string(ring.header().engine) == engine);
  hooks.owner = getpid();
  hooks.kernel_write_end = kernel_write_end;
  __atomic_store_n(&hooks.kernel_write_begin, &kernel_write_begin, __ATOMIC_RELEASE);
  constexpr std::size_t kBytes = 2 * kPageBytes;
  auto* memory = static_cast<unsigned char*>(
      own_pages ? memory_allocate(kBytes)
                : mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  EXPECT(memory_watch(variable_of(memory, kBytes)) != 0);
  const Ends ends = way.open();
  Judge judge{ring, std::vector<unsigned char>(kBytes), 0};
  const int window = way.open == open_file ? 1 : kWindow;
  for (int done = 0; done < messages;) {
    for (int i = 0; i < window; ++i) send_message(way, ends, done + i);
    for (int i = 0; i < window; i += static_cast<int>(way.messages_at_once)) {
      const long got = way.receive(ends.from, memory + kAt);
      if (got < 0) fprintf(stderr, "%s: %s\n", way.name, strerror(errno));
      EXPECT(got == static_cast<long>(kMessage * way.messages_at_once));
      for (std::size_t k = 0; k < way.messages_at_once; ++k) {
        unsigned char expected[kMessage];
        compose(done + i + static_cast<int>(k), expected);
        EXPECT(memcmp(memory + kAt + k * kMessage, expected, kMessage) == 0);
      }
    }
    done += window;
    if (!is_raw(way)) {
      judge.look();
      const std::size_t each = way.receive == receive_in_parts ? 2 : 1;
      EXPECT(judge.events == each * static_cast<std::size_t>(done));
    } else if (done % 10'000 < window) {
      judge.look();
    }
  }
  if (is_raw(way)) usleep(100'000);
  judge.look();
  EXPECT(memcmp(judge.replayed.data(), memory, kBytes) == 0);
  EXPECT(ring.header().dropped == 0);
  printf("%s%s, %s, %s: %d messages, %zu events\n", engine, own_pages ? "" : " in place", user == 0 ? "root" : "nobody",
         way.name, messages, judge.events);
  fflush(stdout);
}

bool engine_works(const char* engine, uid_t user) {
  return status_of_child([&] {
           if (user != 0) EXPECT(setresuid(user, user, user) == 0);
           CaptureRing ring(1u << 12);
           if (memory_start(ring.get(), engine, nullptr) != 0 ||
               ring->dictionary().string(ring.header().engine) != engine)
             _exit(1);
         }) == 0;
}

int run(bool full) {
  const int messages = full ? 100'032 : 528;  // whole windows
  int failures = 0;
  for (const uid_t user : {uid_t{0}, kNobody})
    for (const auto& [engine_name, own_memory] : {std::pair{"inline", true}, {"inline", false}, {"uffd", true}}) {
      // copies, for clang lets no lambda capture a structured binding
      const char* engine = engine_name;
      const bool own = own_memory;
      const bool uffd = std::string("uffd") == engine;
      if (user != getuid() && getuid() != 0) continue;
      if (uffd && !engine_works(engine, user)) {
        printf("uffd, %s: not available here, skipped\n", user == 0 ? "root" : "nobody");
        continue;
      }
      for (const Way& way : kWays) {
        if (is_raw(way) && !uffd) continue;
        const int status = status_of_child([&] { transfer(way, engine, own, messages, user); });
        if (status == 0) continue;
        ++failures;
        printf("FAILED: %s%s, uid %u, %s: wait status %#x\n", engine, own ? "" : " in place", user, way.name,
               static_cast<unsigned>(status));
      }
    }
  printf("%s\n", failures == 0 ? "PASSED" : "FAILED");
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace watcher::test

int main(int argc, char** argv) {
  return watcher::test::run(argc > 1 && std::string(argv[1]) == "--full");
}
