// libuv before 1.45 (node 18) has no libc to rely on and calls preadv by syscall(): the kernel would refuse watched
// pages.

#include "probes/node/host_calls.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "probes/node/import_table.h"

namespace watcher::node {
namespace {

long led_syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long words[6];
  for (long& word : words) word = va_arg(list, long);
  va_end(list);
  if (number == SYS_preadv)
    return preadv(static_cast<int>(words[0]), reinterpret_cast<const iovec*>(words[1]), static_cast<int>(words[2]),
                  words[3]);
  return syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

}  // namespace

void lead_host_calls() {
  // Debian's libuv is an object of its own
  [[maybe_unused]] static const bool led =
      lead_import(dlsym(RTLD_DEFAULT, "uv_fs_read"), "syscall", reinterpret_cast<void*>(led_syscall));
}

}  // namespace watcher::node
