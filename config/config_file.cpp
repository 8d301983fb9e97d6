#include "config/config_file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/base/unique_fd.h"

namespace watcher {
namespace {

constexpr off_t kLongestFile = 16 << 20;

// O_NONBLOCK: a FIFO in the place of the file must not hold up the host.
UniqueFd open_to_read(const std::string& path) {
  return UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
}

Error refuse(const std::string& path, const std::string& why) {
  return Error{EPERM, path + ": " + why};
}

Error failed(const std::string& path, int code) {
  char buffer[128];
  return Error{code, path + ": " + strerror_r(code, buffer, sizeof buffer)};
}

Result<void> check_owner_and_mode(const std::string& path, const struct stat& status) {
  if (!S_ISREG(status.st_mode)) return refuse(path, "not a regular file");
  if (status.st_uid != 0 && status.st_uid != geteuid())
    return refuse(path, "refused, because it belongs to user " + std::to_string(status.st_uid) +
                            "; it must belong to user " + std::to_string(geteuid()) +
                            " or to root, since a configuration can name code to run");
  if (status.st_mode & (S_IWGRP | S_IWOTH))
    return refuse(path, "refused, because others may write to it; 'chmod go-w' makes it acceptable");
  return {};
}

/// In a user namespace root's directories, too, may show as those of nobody: not one of its users owns them.
bool is_of_no_user_here(uid_t owner) {
  constexpr uid_t kOverflow = 65534;
  if (owner != kOverflow) return false;
  char map[64] = "";
  const UniqueFd file = open_to_read("/proc/self/uid_map");
  const ssize_t got = file ? read(file.get(), map, sizeof map - 1) : -1;
  unsigned inside = 0, outside = 0, count = 0;
  return got > 0 && sscanf(map, "%u %u %u", &inside, &outside, &count) == 3 && count <= kOverflow;
}

/// Who else may put another file in the place of one in this directory, and the remedy; empty: nobody.
std::string who_may_replace_entries(const char* directory) {
  struct stat status;
  if (stat(directory, &status) != 0) return {};
  const bool strangers = status.st_uid != 0 && status.st_uid != geteuid() && !is_of_no_user_here(status.st_uid);
  if (!strangers && (!(status.st_mode & S_IWOTH) || (status.st_mode & S_ISVTX))) return {};
  // a container's configuration volume is a read-only mount of mode 0777
  struct statvfs mount;
  if (statvfs(directory, &mount) == 0 && (mount.f_flag & ST_RDONLY)) return {};
  const std::string in = std::string(" may replace it in ") + directory;
  if (strangers)
    return "user " + std::to_string(status.st_uid) + in + ", a directory of theirs; 'chown' of it makes it acceptable";
  return "everybody" + in + "; 'chmod o-w' or 'chmod +t' on that directory makes it acceptable";
}

/// After the file was opened: the path that leads to this very file passes only directories that protect it.
Result<void> check_parents(const std::string& path, const struct stat& opened) {
  char real[PATH_MAX];
  if (!realpath(path.c_str(), real)) return failed(path, errno);
  struct stat status;
  if (lstat(real, &status) != 0 || status.st_ino != opened.st_ino || status.st_dev != opened.st_dev)
    return refuse(path, "refused, because it was replaced while it was read");
  for (char* slash = strrchr(real, '/'); slash; slash = strrchr(real, '/')) {
    *slash = '\0';
    const char* directory = slash == real ? "/" : real;
    if (const std::string who = who_may_replace_entries(directory); !who.empty())
      return refuse(path, "refused, because " + who);
  }
  return {};
}

Result<void> check(const std::string& path, int fd, struct stat* status) {
  if (fstat(fd, status) != 0) return failed(path, errno);
  if (auto checked = check_owner_and_mode(path, *status); !checked) return checked;
  return check_parents(path, *status);
}

Result<std::string> read_all(const std::string& path, int fd) {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(path, errno);
    if (got == 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
    if (static_cast<off_t>(text.size()) > kLongestFile)
      return refuse(path, "refused, because it grows while it is read");
  }
}

}  // namespace

Result<void> check_code_file(const std::string& path) {
  const UniqueFd file = open_to_read(path);
  struct stat status;
  if (!file) return failed(path, errno);
  return check(path, file.get(), &status);
}

Result<std::string> read_config_file(const std::string& path) {
  const UniqueFd file = open_to_read(path);
  struct stat status;
  if (!file) return failed(path, errno);
  if (auto checked = check(path, file.get(), &status); !checked) return checked.error();
  if (status.st_size > kLongestFile) return refuse(path, "refused, because it is longer than 16 MiB");
  return read_all(path, file.get());
}

std::string relative_to_file(const std::string& base_file, const std::string& path) {
  const std::size_t slash = base_file.rfind('/');
  if (path.starts_with('/') || slash == std::string::npos || base_file.substr(0, slash) == ".") return path;
  return base_file.substr(0, slash + 1) + path;
}

}  // namespace watcher
