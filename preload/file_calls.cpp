// What the kernel tells about files: status, file systems, names, extended attributes, directory entries.
//
// statvfs and readdir_r are not here: libc asks the kernel for a structure of its own, and its copies to the caller are
// stores like any other.
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "preload/filling.h"
#include "preload/real_functions.h"

namespace watcher {

// Status.

WATCHER_INTERPOSER int stat(const char* path, struct stat* status) noexcept {
  return fill(SYS_newfstatat, real::stat, path, out(status));
}
WATCHER_INTERPOSER int stat64(const char* path, struct stat64* status) noexcept {
  return fill(SYS_newfstatat, real::stat64, path, out(status));
}
WATCHER_INTERPOSER int lstat(const char* path, struct stat* status) noexcept {
  return fill(SYS_newfstatat, real::lstat, path, out(status));
}
WATCHER_INTERPOSER int lstat64(const char* path, struct stat64* status) noexcept {
  return fill(SYS_newfstatat, real::lstat64, path, out(status));
}
WATCHER_INTERPOSER int fstat(int fd, struct stat* status) noexcept {
  return fill(SYS_fstat, real::fstat, fd, out(status));
}
WATCHER_INTERPOSER int fstat64(int fd, struct stat64* status) noexcept {
  return fill(SYS_fstat, real::fstat64, fd, out(status));
}
WATCHER_INTERPOSER int fstatat(int fd, const char* path, struct stat* status, int flags) noexcept {
  return fill(SYS_newfstatat, real::fstatat, fd, path, out(status), flags);
}
WATCHER_INTERPOSER int fstatat64(int fd, const char* path, struct stat64* status, int flags) noexcept {
  return fill(SYS_newfstatat, real::fstatat64, fd, path, out(status), flags);
}
WATCHER_INTERPOSER int statx(int fd, const char* path, int flags, unsigned mask, struct statx* status) noexcept {
  return fill(SYS_statx, real::statx, fd, path, flags, mask, out(status));
}

// The same, as programs call them that were linked before glibc 2.33.

WATCHER_INTERPOSER int __xstat(int version, const char* path, struct stat* status) {
  return fill(SYS_newfstatat, real::__xstat, version, path, out(status));
}
WATCHER_INTERPOSER int __xstat64(int version, const char* path, struct stat64* status) {
  return fill(SYS_newfstatat, real::__xstat64, version, path, out(status));
}
WATCHER_INTERPOSER int __lxstat(int version, const char* path, struct stat* status) {
  return fill(SYS_newfstatat, real::__lxstat, version, path, out(status));
}
WATCHER_INTERPOSER int __lxstat64(int version, const char* path, struct stat64* status) {
  return fill(SYS_newfstatat, real::__lxstat64, version, path, out(status));
}
WATCHER_INTERPOSER int __fxstat(int version, int fd, struct stat* status) {
  return fill(SYS_fstat, real::__fxstat, version, fd, out(status));
}
WATCHER_INTERPOSER int __fxstat64(int version, int fd, struct stat64* status) {
  return fill(SYS_fstat, real::__fxstat64, version, fd, out(status));
}
WATCHER_INTERPOSER int __fxstatat(int version, int fd, const char* path, struct stat* status, int flags) {
  return fill(SYS_newfstatat, real::__fxstatat, version, fd, path, out(status), flags);
}
WATCHER_INTERPOSER int __fxstatat64(int version, int fd, const char* path, struct stat64* status, int flags) {
  return fill(SYS_newfstatat, real::__fxstatat64, version, fd, path, out(status), flags);
}

// File systems.

WATCHER_INTERPOSER int statfs(const char* path, struct statfs* status) noexcept {
  return fill(SYS_statfs, real::statfs, path, out(status));
}
WATCHER_INTERPOSER int statfs64(const char* path, struct statfs64* status) noexcept {
  return fill(SYS_statfs, real::statfs64, path, out(status));
}
WATCHER_INTERPOSER int fstatfs(int fd, struct statfs* status) noexcept {
  return fill(SYS_fstatfs, real::fstatfs, fd, out(status));
}
WATCHER_INTERPOSER int fstatfs64(int fd, struct statfs64* status) noexcept {
  return fill(SYS_fstatfs, real::fstatfs64, fd, out(status));
}

// Names.

WATCHER_INTERPOSER char* getcwd(char* path, size_t bytes) noexcept {
  return fill(SYS_getcwd, real::getcwd, text(path, bytes), bytes);
}
WATCHER_INTERPOSER char* __getcwd_chk(char* path, size_t bytes, size_t capacity) noexcept {
  return fill(SYS_getcwd, real::__getcwd_chk, text(path, bytes), bytes, capacity);
}
WATCHER_INTERPOSER ssize_t readlink(const char* path, char* target, size_t bytes) noexcept {
  return fill(SYS_readlink, real::readlink, path, by_result(target, bytes), bytes);
}
WATCHER_INTERPOSER ssize_t __readlink_chk(const char* path, char* target, size_t bytes, size_t capacity) noexcept {
  return fill(SYS_readlink, real::__readlink_chk, path, by_result(target, bytes), bytes, capacity);
}
WATCHER_INTERPOSER ssize_t readlinkat(int fd, const char* path, char* target, size_t bytes) noexcept {
  return fill(SYS_readlinkat, real::readlinkat, fd, path, by_result(target, bytes), bytes);
}
WATCHER_INTERPOSER ssize_t __readlinkat_chk(int fd, const char* path, char* target, size_t bytes,
                                            size_t capacity) noexcept {
  return fill(SYS_readlinkat, real::__readlinkat_chk, fd, path, by_result(target, bytes), bytes, capacity);
}

// Extended attributes.

WATCHER_INTERPOSER ssize_t getxattr(const char* path, const char* name, void* value, size_t bytes) noexcept {
  return fill(SYS_getxattr, real::getxattr, path, name, by_result(static_cast<char*>(value), bytes), bytes);
}
WATCHER_INTERPOSER ssize_t lgetxattr(const char* path, const char* name, void* value, size_t bytes) noexcept {
  return fill(SYS_lgetxattr, real::lgetxattr, path, name, by_result(static_cast<char*>(value), bytes), bytes);
}
WATCHER_INTERPOSER ssize_t fgetxattr(int fd, const char* name, void* value, size_t bytes) noexcept {
  return fill(SYS_fgetxattr, real::fgetxattr, fd, name, by_result(static_cast<char*>(value), bytes), bytes);
}
WATCHER_INTERPOSER ssize_t listxattr(const char* path, char* names, size_t bytes) noexcept {
  return fill(SYS_listxattr, real::listxattr, path, by_result(names, bytes), bytes);
}
WATCHER_INTERPOSER ssize_t llistxattr(const char* path, char* names, size_t bytes) noexcept {
  return fill(SYS_llistxattr, real::llistxattr, path, by_result(names, bytes), bytes);
}
WATCHER_INTERPOSER ssize_t flistxattr(int fd, char* names, size_t bytes) noexcept {
  return fill(SYS_flistxattr, real::flistxattr, fd, by_result(names, bytes), bytes);
}

WATCHER_INTERPOSER ssize_t getdents64(int fd, void* entries, size_t bytes) noexcept {
  return fill(SYS_getdents64, real::getdents64, fd, by_result(static_cast<char*>(entries), bytes), bytes);
}

}  // namespace watcher
