// The calls of the kernel-write matrix: each fills `at` in the way its name says, the same in every process.
#pragma once

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace watcher::test {

struct KernelCall {
  const char* name;
  int number;
  long (*run)(unsigned char* at);
  void (*prepare)(unsigned char* at) = nullptr;  // what the call finds there
  bool varies = false;                           // the bytes differ from one process to the next
  int events = 1;                                // one a destination that is written
};

template <class T>
T* as(unsigned char* at) {
  return reinterpret_cast<T*>(at);
}

template <class T, class Value>
void put(unsigned char* at, const Value& value) {
  const T copy = static_cast<T>(value);
  memcpy(at, &copy, sizeof copy);
}

inline int content_file() {
  const int file = memfd_create("content", 0);
  char text[6000];
  for (size_t i = 0; i < sizeof text; ++i) text[i] = i % 61 == 60 ? '\n' : static_cast<char>('!' + i % 90);
  if (write(file, text, sizeof text) < 0) abort();
  lseek(file, 0, SEEK_SET);
  return file;
}

inline FILE* content_stream() {
  return fdopen(content_file(), "r");
}

inline int filled_pipe() {
  int ends[2];
  if (pipe(ends) != 0 || write(ends[1], "piped bytes", 11) < 0) abort();
  return ends[0];
}

/// A socket with one datagram of 300 bytes waiting, sent by an abstract name.
inline int filled_socket() {
  const int receiver = socket(AF_UNIX, SOCK_DGRAM, 0);
  const int sender = socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un name = {AF_UNIX, {}};
  if (bind(receiver, reinterpret_cast<sockaddr*>(&name), sizeof name.sun_family) != 0) abort();
  socklen_t bytes = sizeof name;
  getsockname(receiver, reinterpret_cast<sockaddr*>(&name), &bytes);
  sockaddr_un own = {AF_UNIX, {}};
  snprintf(own.sun_path + 1, 30, "watcher-matrix-%d", getpid());
  if (bind(sender, reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) abort();
  char text[300];
  memset(text, 'd', sizeof text);
  if (sendto(sender, text, sizeof text, 0, reinterpret_cast<sockaddr*>(&name), bytes) < 0) abort();
  return receiver;
}

inline int listening_socket(bool connected) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof name;
  if (bind(listener, reinterpret_cast<sockaddr*>(&name), bytes) != 0 || listen(listener, 1) != 0) abort();
  getsockname(listener, reinterpret_cast<sockaddr*>(&name), &bytes);
  const int peer = connected ? socket(AF_INET, SOCK_STREAM, 0) : -1;
  if (connected && connect(peer, reinterpret_cast<sockaddr*>(&name), bytes) != 0) abort();
  return listener;
}

inline pid_t ended_child() {
  const pid_t child = fork();
  if (child == 0) _exit(7);
  return child;
}

inline int event_poll() {
  const int poller = epoll_create1(0);
  epoll_event event = {EPOLLIN, {.u64 = 0x1122334455667788u}};
  epoll_ctl(poller, EPOLL_CTL_ADD, filled_pipe(), &event);
  return poller;
}

inline sigset_t raised_signal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  raise(SIGUSR1);
  return set;
}

/// A sleep that an alarm ends.
inline void wake_soon() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, nullptr);
  const itimerval soon = {{0, 0}, {0, 20000}};
  setitimer(ITIMER_REAL, &soon, nullptr);
}

extern const KernelCall kKernelCalls[];
extern const size_t kKernelCallCount;
// capture_rare_calls.cpp
extern const KernelCall kRareCalls[];
extern const size_t kRareCallCount;

}  // namespace watcher::test
