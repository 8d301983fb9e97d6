#include "runtime/capture/handler/userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/handler/handler_request.h"
#include "runtime/capture/store/store_context.h"

namespace watcher {
namespace {

constexpr std::uint64_t kFeatures = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_THREAD_ID |
                                    UFFD_FEATURE_EXACT_ADDRESS | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;

constinit int descriptor = -1;  // in the handler's table

/// The last wakes, by number, modulo.
struct Range {
  std::uintptr_t begin, end;
};
constexpr std::uint64_t kWakesKept = 64;
constinit Range woken[kWakesKept] = {};
constinit std::uint64_t wakes = 0;

void note_wake(std::uintptr_t begin, std::size_t bytes) {
  woken[wakes++ % kWakesKept] = {begin, begin + bytes};
}

int accept_features(long opened) {
  uffdio_api api = {.api = UFFD_API, .features = kFeatures, .ioctls = 0};
  const long result = raw_syscall(SYS_ioctl, opened, UFFDIO_API, &api);
  if (result != 0) {
    raw_syscall(SYS_close, opened);
    return static_cast<int>(-result);
  }
  descriptor = static_cast<int>(opened);
  return 0;
}

long open_by_device() {
  const long device = raw_syscall(SYS_openat, AT_FDCWD, "/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);
  if (device < 0) return device;
  const long opened = raw_syscall(SYS_ioctl, device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  raw_syscall(SYS_close, device);
  return opened;
}

int protect_directly(std::uintptr_t address, std::size_t bytes, bool on) {
  uffdio_writeprotect request = {.range = {address, bytes}, .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};
  long result = 0;
  do result = raw_syscall(SYS_ioctl, descriptor, UFFDIO_WRITEPROTECT, &request);
  while (result == -EAGAIN);  // the address space is being changed
  return static_cast<int>(-result);
}

int arm_directly(std::uintptr_t address, std::size_t bytes) {
  uffdio_register request = {.range = {address, bytes}, .mode = UFFDIO_REGISTER_MODE_WP, .ioctls = 0};
  const long result = raw_syscall(SYS_ioctl, descriptor, UFFDIO_REGISTER, &request);
  return result != 0 ? static_cast<int>(-result) : protect_directly(address, bytes, true);
}

int release_directly(std::uintptr_t address, std::size_t bytes) {
  uffdio_range range = {address, bytes};
  return static_cast<int>(-raw_syscall(SYS_ioctl, descriptor, UFFDIO_UNREGISTER, &range));
}

}  // namespace

int userfault_open() {
  const long by_device = open_by_device();
  if (by_device >= 0 && accept_features(by_device) == 0) return 0;
  const long by_call = raw_syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  return by_call < 0 ? static_cast<int>(-by_call) : accept_features(by_call);
}

int userfault_descriptor() {
  return descriptor;
}

void userfault_wake(std::uintptr_t page) {
  note_wake(page, kPageBytes);
  uffdio_range range = {page, kPageBytes};
  raw_syscall(SYS_ioctl, descriptor, UFFDIO_WAKE, &range);
}

std::uint64_t userfault_wakes() {
  return wakes;
}

bool userfault_woken_since(std::uint64_t count, std::uintptr_t page) {
  if (wakes - count > kWakesKept) {  // not known any more: it is now
    userfault_wake(page);
    return true;
  }
  for (; count < wakes; ++count)
    if (const Range& range = woken[count % kWakesKept]; page >= range.begin && page < range.end) return true;
  return false;
}

int userfault_perform(const HandlerRequest& request) {
  if (request.kind == RequestKind::kRelease || request.kind == RequestKind::kOpen)
    note_wake(request.address, request.bytes);
  if (request.kind == RequestKind::kArm) return arm_directly(request.address, request.bytes);
  if (request.kind == RequestKind::kRelease) return release_directly(request.address, request.bytes);
  return protect_directly(request.address, request.bytes, request.kind == RequestKind::kProtect);
}

int userfault_protect(std::uintptr_t address, std::size_t bytes, bool on) {
  const HandlerRequest request = {on ? RequestKind::kProtect : RequestKind::kOpen, address, bytes};
  return thread_state.is_helper ? userfault_perform(request) : ask_handler(request);
}

int userfault_arm(std::uintptr_t address, std::size_t bytes) {
  return ask_handler({RequestKind::kArm, address, bytes});
}

int userfault_release(std::uintptr_t address, std::size_t bytes) {
  return ask_handler({RequestKind::kRelease, address, bytes});
}

std::int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // the vDSO's, of which the handler's every turn needs one
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace watcher
