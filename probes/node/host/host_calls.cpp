// libuv before 1.45 (node 18) has no libc to rely on and calls preadv by syscall(): the kernel would refuse watched
// pages. So does io_uring under the engine `inline`: a user who asks libuv for it gets a libuv that is told that the
// kernel has none, and reads by itself.

#include "probes/node/host/host_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <string_view>

#include "probes/node/events/emit.h"
#include "probes/node/host/import_table.h"

namespace watcher::node {
namespace {

constinit bool refuses_rings = false;

bool will_be_inline() {
  const std::string_view engine(runtime->option("engine"));
  if (engine != "auto") return engine == "inline";
  const long faults = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  if (faults >= 0) close(static_cast<int>(faults));
  return faults < 0 && access("/dev/userfaultfd", R_OK | W_OK) != 0;
}

long led_syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long words[6];
  for (long& word : words) word = va_arg(list, long);
  va_end(list);
  if (number == SYS_preadv)
    return preadv(static_cast<int>(words[0]), reinterpret_cast<const iovec*>(words[1]), static_cast<int>(words[2]),
                  words[3]);
  if (number == SYS_io_uring_setup && refuses_rings) {
    errno = ENOSYS;
    return -1;
  }
  return syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

}  // namespace

void lead_host_calls() {
  // Debian's libuv is an object of its own
  [[maybe_unused]] static const bool led =
      lead_import(dlsym(RTLD_DEFAULT, "uv_fs_read"), "syscall", reinterpret_cast<void*>(led_syscall));
}

void lead_host_rings() {
  const char* wanted = getenv("UV_USE_IO_URING");
  if (wanted == nullptr || atoi(wanted) == 0 || runtime->asked() == 0 || !will_be_inline()) return;
  refuses_rings = true;
  lead_host_calls();
}

}  // namespace watcher::node
