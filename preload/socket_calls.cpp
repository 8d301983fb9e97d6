// What the kernel tells about sockets: addresses and options.
#include <sys/socket.h>
#include <sys/syscall.h>

#include "preload/real_functions.h"
#include "preload/socket_answers.h"

namespace watcher {

WATCHER_INTERPOSER int accept(int fd, sockaddr* address, socklen_t* bytes) {
  return into_answer(SYS_accept, address, bytes,
                     [=](sockaddr* peer, socklen_t* peer_bytes) { return real::accept(fd, peer, peer_bytes); });
}

WATCHER_INTERPOSER int accept4(int fd, sockaddr* address, socklen_t* bytes, int flags) {
  return into_answer(SYS_accept4, address, bytes,
                     [=](sockaddr* peer, socklen_t* peer_bytes) { return real::accept4(fd, peer, peer_bytes, flags); });
}

WATCHER_INTERPOSER int getsockname(int fd, sockaddr* address, socklen_t* bytes) noexcept {
  return into_answer(SYS_getsockname, address, bytes,
                     [=](sockaddr* name, socklen_t* name_bytes) { return real::getsockname(fd, name, name_bytes); });
}

WATCHER_INTERPOSER int getpeername(int fd, sockaddr* address, socklen_t* bytes) noexcept {
  return into_answer(SYS_getpeername, address, bytes,
                     [=](sockaddr* name, socklen_t* name_bytes) { return real::getpeername(fd, name, name_bytes); });
}

WATCHER_INTERPOSER int getsockopt(int fd, int level, int option, void* value, socklen_t* bytes) noexcept {
  return into_answer(SYS_getsockopt, static_cast<char*>(value), bytes, [=](char* target, socklen_t* target_bytes) {
    return real::getsockopt(fd, level, option, target, target_bytes);
  });
}

}  // namespace watcher
