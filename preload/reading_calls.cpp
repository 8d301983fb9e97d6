// The calls by which the kernel fills a caller's memory from a descriptor. Each unpacks, redirects, forwards.
// Cancellation points, so none of them is noexcept unless libc declares it so.
#include <sys/syscall.h>

#include "preload/real_functions.h"
#include "preload/redirection.h"

namespace watcher {

WATCHER_INTERPOSER ssize_t read(int fd, void* buffer, size_t bytes) {
  return into_buffer(buffer, bytes, SYS_read, [=](void* target) { return real::read(fd, target, bytes); });
}

WATCHER_INTERPOSER ssize_t __read_chk(int fd, void* buffer, size_t bytes, size_t capacity) {
  return into_buffer(buffer, bytes, SYS_read,
                     [=](void* target) { return real::__read_chk(fd, target, bytes, capacity); });
}

WATCHER_INTERPOSER ssize_t pread(int fd, void* buffer, size_t bytes, off_t offset) {
  return into_buffer(buffer, bytes, SYS_pread64, [=](void* target) { return real::pread(fd, target, bytes, offset); });
}

WATCHER_INTERPOSER ssize_t __pread_chk(int fd, void* buffer, size_t bytes, off_t offset, size_t capacity) {
  return into_buffer(buffer, bytes, SYS_pread64,
                     [=](void* target) { return real::__pread_chk(fd, target, bytes, offset, capacity); });
}

WATCHER_INTERPOSER ssize_t pread64(int fd, void* buffer, size_t bytes, off64_t offset) {
  return into_buffer(buffer, bytes, SYS_pread64,
                     [=](void* target) { return real::pread64(fd, target, bytes, offset); });
}

WATCHER_INTERPOSER ssize_t __pread64_chk(int fd, void* buffer, size_t bytes, off64_t offset, size_t capacity) {
  return into_buffer(buffer, bytes, SYS_pread64,
                     [=](void* target) { return real::__pread64_chk(fd, target, bytes, offset, capacity); });
}

WATCHER_INTERPOSER ssize_t readv(int fd, const iovec* vectors, int count) {
  return into_vectors(vectors, static_cast<size_t>(count), SYS_readv,
                      [=](const iovec* targets) { return real::readv(fd, targets, count); });
}

WATCHER_INTERPOSER ssize_t preadv(int fd, const iovec* vectors, int count, off_t offset) {
  return into_vectors(vectors, static_cast<size_t>(count), SYS_preadv,
                      [=](const iovec* targets) { return real::preadv(fd, targets, count, offset); });
}

WATCHER_INTERPOSER ssize_t preadv64(int fd, const iovec* vectors, int count, off64_t offset) {
  return into_vectors(vectors, static_cast<size_t>(count), SYS_preadv,
                      [=](const iovec* targets) { return real::preadv64(fd, targets, count, offset); });
}

WATCHER_INTERPOSER ssize_t preadv2(int fd, const iovec* vectors, int count, off_t offset, int flags) {
  return into_vectors(vectors, static_cast<size_t>(count), SYS_preadv2,
                      [=](const iovec* targets) { return real::preadv2(fd, targets, count, offset, flags); });
}

WATCHER_INTERPOSER ssize_t preadv64v2(int fd, const iovec* vectors, int count, off64_t offset, int flags) {
  return into_vectors(vectors, static_cast<size_t>(count), SYS_preadv2,
                      [=](const iovec* targets) { return real::preadv64v2(fd, targets, count, offset, flags); });
}

WATCHER_INTERPOSER ssize_t getrandom(void* buffer, size_t bytes, unsigned flags) {
  return into_buffer(buffer, bytes, SYS_getrandom, [=](void* target) { return real::getrandom(target, bytes, flags); });
}

}  // namespace watcher
