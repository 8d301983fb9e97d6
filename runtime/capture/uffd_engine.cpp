// Write protection by a full-privilege userfaultfd: stores of the kernel are served as well, so no system call of the
// host can fail on a watched page. A handler thread is told of each fault and signals the storing thread, which then
// goes the same way as with the inline engine.
#include "runtime/capture/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/alias_pages.h"
#include "runtime/capture/fault_signals.h"
#include "runtime/capture/region_map.h"
#include "runtime/capture/uffd_thread.h"

namespace watcher {
namespace {

constexpr int kLowestDescriptor = 900;
constexpr std::uint64_t kFeatures = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_THREAD_ID |
                                    UFFD_FEATURE_EXACT_ADDRESS | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;

constinit std::atomic<int> descriptor{-1};
constinit int signal_number = 0;

int open_userfaultfd() {
  const long device = raw_syscall(SYS_openat, AT_FDCWD, "/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);
  if (device >= 0) {
    const long opened = raw_syscall(SYS_ioctl, device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    raw_syscall(SYS_close, device);
    if (opened >= 0) return static_cast<int>(opened);
  }
  return static_cast<int>(raw_syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
}

/// A descriptor out of the host's way, or a negative errno.
int open_with_features() {
  const int low = open_userfaultfd();
  if (low < 0) return low;
  const long high = raw_syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, kLowestDescriptor);
  raw_syscall(SYS_close, low);
  if (high < 0) return static_cast<int>(high);
  uffdio_api api = {.api = UFFD_API, .features = kFeatures, .ioctls = 0};
  const long result = raw_syscall(SYS_ioctl, high, UFFDIO_API, &api);
  if (result == 0) return static_cast<int>(high);
  raw_syscall(SYS_close, high);
  return static_cast<int>(result);
}

int start() {
  // A child has inherited its parent's, which would report nothing of it.
  const int inherited = descriptor.exchange(-1, std::memory_order_relaxed);
  if (inherited >= 0) raw_syscall(SYS_close, inherited);
  const int opened = open_with_features();
  if (opened < 0) return -opened;
  if (signal_number == 0) signal_number = fault_signals_take_realtime();
  const int error = signal_number == 0 ? EBUSY : uffd_thread_start(opened, signal_number);
  if (error != 0) {
    raw_syscall(SYS_close, opened);
    return error;
  }
  descriptor.store(opened, std::memory_order_release);
  return 0;
}

int write_protect(std::uintptr_t address, std::size_t bytes, std::uint64_t mode) {
  uffdio_writeprotect request = {.range = {address, bytes}, .mode = mode};
  long result = 0;
  do result = raw_syscall(SYS_ioctl, descriptor.load(std::memory_order_acquire), UFFDIO_WRITEPROTECT, &request);
  while (result == -EAGAIN);  // the address space is being changed
  return static_cast<int>(-result);
}

int arm(std::uintptr_t address, std::size_t bytes, int) {
  uffdio_register request = {.range = {address, bytes}, .mode = UFFDIO_REGISTER_MODE_WP, .ioctls = 0};
  const long result = raw_syscall(SYS_ioctl, descriptor.load(std::memory_order_acquire), UFFDIO_REGISTER, &request);
  if (result != 0) return static_cast<int>(-result);
  return write_protect(address, bytes, UFFDIO_WRITEPROTECT_MODE_WP);
}

/// The range stays registered: that alone costs nothing, and taking it back would split the mapping.
int disarm(std::uintptr_t address, std::size_t bytes, int) {
  return write_protect(address, bytes, 0);
}

}  // namespace

constinit const Engine uffd_engine = {
    .name = "uffd", .start = start, .arm = arm, .disarm = disarm, .watch = nullptr, .unwatch = nullptr};

int uffd_signal() {
  return signal_number;
}

}  // namespace watcher
