// Write protection by a full-privilege userfaultfd: stores of the kernel are served as well, so no system call of the
// host can fail on a watched page. A handler process is told of each fault and signals the storing thread, which then
// goes the same way as with the inline engine.
#include <errno.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/engine.h"
#include "runtime/capture/fault_signals.h"
#include "runtime/capture/region_map.h"
#include "runtime/capture/uffd_handler.h"
#include "runtime/capture/userfault.h"

namespace watcher {
namespace {

constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, which older headers lack

constinit int signal_number = 0;

int start() {
  uffd_handler_forget();    // a forked child has inherited the traces of its parent's
  fault_signals_install();  // the handler inherits them: it touches memory that may be gone
  if (signal_number == 0) signal_number = fault_signals_take_realtime();
  return signal_number == 0 ? EBUSY : uffd_handler_start(signal_number);
}

// Without the handler nothing traps any more by its means; what is asked for meanwhile is done by the other engine.

int arm(std::uintptr_t address, std::size_t bytes, int protection) {
  const int error = userfault_arm(address, bytes);
  return error == ENOTCONN ? inline_engine.arm(address, bytes, protection) : error;
}

/// The range stays registered: that alone costs nothing, and taking it back would split the mapping.
int disarm(std::uintptr_t address, std::size_t bytes, int protection) {
  const int error = userfault_protect(address, bytes, false);
  // Of shared memory the kernel leaves it to a fault of each page to become writable again, and has them cheaper at
  // once.
  if (error == 0 && bytes > kPageBytes) raw_syscall(SYS_madvise, address, bytes, kPopulateWrite);
  return error == ENOTCONN ? inline_engine.disarm(address, bytes, protection) : error;
}

}  // namespace

constinit const Engine uffd_engine = {
    .name = "uffd", .start = start, .arm = arm, .disarm = disarm, .watch = nullptr, .unwatch = nullptr};

int uffd_signal() {
  return signal_number;
}

}  // namespace watcher
