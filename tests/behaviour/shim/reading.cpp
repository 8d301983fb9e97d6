// The scenarios of reading_calls and receiving_calls.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "tests/behaviour/shim/host.h"

extern "C" {
ssize_t __read_chk(int, void*, size_t, size_t);
ssize_t __pread_chk(int, void*, size_t, off_t, size_t);
ssize_t __pread64_chk(int, void*, size_t, off64_t, size_t);
ssize_t __recv_chk(int, void*, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void*, size_t, size_t, int, struct sockaddr*, socklen_t*);
}

namespace {

unsigned char* const kBuffer = shim_watched + 100;

/// A connected pair; the receiving end holds `text` as one datagram.
int datagram(const char* text) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0 || send(ends[1], text, strlen(text), 0) < 0) abort();
  return ends[0];
}

/// A UDP socket that holds one datagram from another one of this process.
int udp_datagram(const char* text) {
  const int receiver = socket(AF_INET, SOCK_DGRAM, 0);
  const int sender = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  if (bind(receiver, reinterpret_cast<sockaddr*>(&address), bytes) != 0) abort();
  getsockname(receiver, reinterpret_cast<sockaddr*>(&address), &bytes);
  if (sendto(sender, text, strlen(text), 0, reinterpret_cast<sockaddr*>(&address), bytes) < 0) abort();
  return receiver;
}

void show_random() {
  const ssize_t got = getrandom(kBuffer, 4096, 0);
  size_t changed = 0;
  for (size_t i = 0; i < 4096; ++i) changed += kBuffer[i] != 0xA5;
  printf("getrandom: %zd, most bytes are new: %d, none beyond: %d\n", got, changed > 4000, kBuffer[4096] == 0xA5);
  prepare_region();
}

void receive_with_address() {
  sockaddr_in plain = {};
  socklen_t bytes = sizeof plain;
  int fd = udp_datagram("from somewhere");
  show("recvfrom address", recvfrom(fd, kBuffer, 64, 0, reinterpret_cast<sockaddr*>(&plain), &bytes));
  printf("family %d bytes %u\n", plain.sin_family, bytes);
  // the address itself is watched: its port differs from run to run, so only the family is shown
  fd = udp_datagram("again");
  char text[16] = {};
  bytes = sizeof plain;
  const ssize_t got = recvfrom(fd, text, sizeof text, 0, reinterpret_cast<sockaddr*>(shim_watched), &bytes);
  printf("recvfrom into watched address: %zd %s family %d\n", got, text,
         reinterpret_cast<sockaddr*>(shim_watched)->sa_family);
  prepare_region();
}

void receive_message() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0) abort();
  const int one = 1;
  setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
  send(ends[1], "a message of some length", 24, 0);

  char plain[5];
  iovec vectors[] = {{kBuffer, 7}, {plain, sizeof plain}, {nullptr, 0}, {kBuffer + 500, 4}};
  msghdr message = {};
  message.msg_iov = vectors;
  message.msg_iovlen = 4;
  message.msg_control = shim_watched + 4096;
  message.msg_controllen = 256;
  const ssize_t got = recvmsg(ends[0], &message, MSG_TRUNC);
  const auto* control = reinterpret_cast<cmsghdr*>(shim_watched + 4096);
  printf("recvmsg: %zd flags %d control %zu type %d plain %.5s same vectors %d\n", got, message.msg_flags,
         message.msg_controllen, control->cmsg_type, plain, message.msg_iov == vectors);
  prepare_region();
  show("recvmsg empty", recvmsg(ends[0], &message, MSG_DONTWAIT));
}

}  // namespace

void reading_scenario() {
  const int fd = content_fd(10000);
  show("read", read(fd, kBuffer, 4000));
  show("read short", read(fd, kBuffer, 50000));
  show("read at the end", read(fd, kBuffer, 50000));
  show("read nothing", read(fd, kBuffer, 0));
  show("read bad descriptor", read(-1, kBuffer, 10));
  lseek(fd, 0, SEEK_SET);
  show("__read_chk", __read_chk(fd, kBuffer, 300, 1000));
  show("pread", pread(fd, kBuffer, 333, 1111));
  show("pread64", pread64(fd, kBuffer, 333, 2222));
  show("pread beyond", pread(fd, kBuffer, 333, 20000));
  show("__pread_chk", __pread_chk(fd, kBuffer, 20, 5, 20));
  show("__pread64_chk", __pread64_chk(fd, kBuffer, 20, 6, 20));
  show("read pipe", read(pipe_fd("piped", 5), kBuffer, 100));
  char plain[8] = {};
  const ssize_t got = read(fd, plain, sizeof plain);
  show("read unwatched", got);
  show_random();
}

void scatter_scenario() {
  const int fd = content_fd(10000);
  unsigned char plain[100] = {};
  const iovec vectors[] = {{kBuffer, 10}, {plain, 100}, {nullptr, 0}, {kBuffer + 5000, 4000}, {kBuffer + 20, 9000}};
  show("readv", readv(fd, vectors, 5));
  printf("plain part %d %d\n", plain[0], plain[99]);
  show("readv at the end", readv(fd, vectors, 5));
  show("preadv", preadv(fd, vectors, 4, 3000));
  show("preadv64", preadv64(fd, vectors, 4, 9000));
  show("preadv2", preadv2(fd, vectors, 2, 10, 0));
  show("preadv64v2", preadv64v2(fd, vectors, 2, 20, 0));
  show("readv bad descriptor", readv(-1, vectors, 5));
  show("readv no vectors", readv(fd, vectors, 0));
  volatile int negative = -1;  // the compiler refuses a literal one
  show("readv negative", readv(fd, vectors, negative));
  static iovec many[1025];
  for (size_t i = 0; i < 1025; ++i) many[i] = {shim_watched + i * 1000, 3};
  show("preadv many", preadv(fd, many, 1024, 0));
  show("preadv too many", preadv(fd, many, 1025, 0));
}

void receiving_scenario() {
  show("recv", recv(datagram("hello"), kBuffer, 100, 0));
  int fd = datagram("peeked");
  show("recv MSG_PEEK", recv(fd, kBuffer, 100, MSG_PEEK));
  show("recv after MSG_PEEK", recv(fd, kBuffer, 100, 0));
  show("recv MSG_TRUNC", recv(datagram("longer than the buffer"), kBuffer, 6, MSG_TRUNC));
  show("recv cut", recv(datagram("longer than the buffer"), kBuffer, 6, 0));
  show("recv empty datagram", recv(datagram(""), kBuffer, 6, 0));
  show("recv nothing there", recv(fd, kBuffer, 6, MSG_DONTWAIT));
  show("recv no socket", recv(content_fd(10), kBuffer, 6, 0));
  show("__recv_chk", __recv_chk(datagram("checked"), kBuffer, 10, 10, 0));
  show("recvfrom", recvfrom(datagram("no address"), kBuffer, 64, 0, nullptr, nullptr));
  show("__recvfrom_chk", __recvfrom_chk(datagram("checked"), kBuffer, 10, 10, 0, nullptr, nullptr));
  receive_with_address();
  receive_message();
}
