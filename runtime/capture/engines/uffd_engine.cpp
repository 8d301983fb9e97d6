// Write protection by a full-privilege userfaultfd: stores of the kernel are served as well, so no system call of the
// host can fail on a watched page. A handler process is told of each fault and signals the storing thread, which then
// goes the same way as with the inline engine.
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/engines/engine.h"
#include "runtime/capture/handler/uffd_handler.h"
#include "runtime/capture/handler/userfault.h"
#include "runtime/capture/regions/region_map.h"
#include "runtime/capture/signals/fault_signals.h"

namespace watcher {
namespace {

constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, which older headers lack
constexpr std::size_t kHugePageBytes = 2 << 20;

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

/// Of whole huge pages of shared memory the kernel maps each at once, but only where no userfaultfd is registered: else
/// it takes a fault for each of their 512 pages, which cost fifty times as much.
bool is_huge(std::uintptr_t address, std::size_t bytes) {
  return bytes != 0 && (address | bytes) % kHugePageBytes == 0 && find_page(address)->alias != 0;
}

/// Registered memory costs nothing, and taking it back would split the mapping: that is worth it for huge pages only.
int disarm(std::uintptr_t address, std::size_t bytes, int protection) {
  const bool huge = is_huge(address, bytes);
  const int error = huge ? userfault_release(address, bytes) : userfault_protect(address, bytes, false);
  if (error == ENOTCONN) return inline_engine.disarm(address, bytes, protection);
  if (error != 0) return error;
  // What was mapped page by page goes, but not its content: the memory is shared with its second mapping.
  if (huge) raw_syscall(SYS_madvise, address, bytes, MADV_DONTNEED);
  // The kernel leaves it to a fault of each page to become writable again, and has them cheaper at once.
  if (bytes > kPageBytes) raw_syscall(SYS_madvise, address, bytes, kPopulateWrite);
  return 0;
}

}  // namespace

constinit const Engine uffd_engine = {
    .name = "uffd", .start = start, .arm = arm, .disarm = disarm, .watch = nullptr, .unwatch = nullptr};

int uffd_signal() {
  return signal_number;
}

}  // namespace watcher
