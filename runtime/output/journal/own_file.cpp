#include "runtime/output/journal/own_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace watcher {
namespace {

Error failed(const std::string& what, int code) {
  return {code, what + ": " + strerror(code)};
}

void make_parents(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1))
    ::mkdir(path.substr(0, slash).c_str(), 0777);
}

}  // namespace

Result<UniqueFd> open_output_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno == ENOENT) {
    make_parents(path);
    ::mkdir(path.c_str(), 0700);
  }
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return failed("output directory " + path, errno);
  return directory;
}

Result<UniqueFd> open_own_file(int directory_fd, const char* name, int flags) {
  // O_NONBLOCK: a FIFO planted under the name must not hold us up before we see that it is one.
  UniqueFd file(::openat(directory_fd, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600));
  if (!file) return failed(name, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return failed(name, errno);
  if (!S_ISREG(status.st_mode)) return Error{EINVAL, std::string(name) + ": not a regular file"};
  if (status.st_uid != ::geteuid()) return Error{EPERM, std::string(name) + ": owned by somebody else"};
  if (status.st_nlink > 1) return Error{EMLINK, std::string(name) + ": has other names"};
  return file;
}

std::uint64_t room_below_limit(std::uint64_t size) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return ~std::uint64_t{0};
  return limit.rlim_cur > size ? limit.rlim_cur - size : 0;
}

}  // namespace watcher
