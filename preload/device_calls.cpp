// The calls with one argument of many types: what the request says about it decides. Most requests say size and
// direction in their number; those that are older stand in a table.
//
// tcgetattr and its like need nothing: libc asks for structures of its own.
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <termios.h>

#include "preload/filling.h"
#include "preload/real_functions.h"

namespace watcher {
namespace {

constexpr size_t kKernelTermiosBytes = 36;

size_t device_answer_bytes(unsigned long request) {
  switch (request) {
    case TCGETS:
      return kKernelTermiosBytes;
    case TIOCGWINSZ:
      return sizeof(winsize);
    case FIONREAD:  // also TIOCINQ
    case TIOCOUTQ:
    case TIOCGPGRP:
    case TIOCGSID:
    case TIOCGETD:
    case TIOCMGET:
    case TIOCGSOFTCAR:
    case TIOCGEXCL:
    case FIOGETOWN:
    case SIOCGPGRP:
    case SIOCATMARK:
      return sizeof(int);
    case FIBMAP:
    case FIGETBSZ:
    case BLKROGET:
    case BLKSSZGET:
    case BLKPBSZGET:
    case BLKIOMIN:
    case BLKIOOPT:
    case BLKALIGNOFF:
    case BLKDISCARDZEROES:
      return sizeof(int);
    case BLKGETSIZE:
    case BLKRAGET:
    case BLKFRAGET:
      return sizeof(long);
    case BLKSECTGET:
    case BLKROTATIONAL:
      return sizeof(short);
    case HDIO_GETGEO:
      return sizeof(hd_geometry);
    case TCGETA:
      return sizeof(termio);
    case SIOCGIFCONF:
      return sizeof(ifconf);
    default:
      break;
  }
  constexpr unsigned long kFirstInterfaceRequest = SIOCGIFNAME, kLastInterfaceRequest = SIOCGIFMAP;
  if (request >= kFirstInterfaceRequest && request <= kLastInterfaceRequest) return sizeof(ifreq);
  return (_IOC_DIR(request) & _IOC_READ) != 0 ? _IOC_SIZE(request) : 0;
}

/// FIEMAP's extents follow what its number counts.
size_t extent_bytes(const void* argument) {
  if (!readable(argument, sizeof(fiemap))) return 0;
  const auto* map = static_cast<const fiemap*>(argument);
  return sizeof *map + size_t{map->fm_extent_count} * sizeof(fiemap_extent);
}

size_t control_answer_bytes(int command) {
  switch (command) {
    case F_GETLK:
    case F_OFD_GETLK:
      return sizeof(struct flock);
    case F_GETOWN_EX:
      return sizeof(f_owner_ex);
    case F_GET_RW_HINT:
    case F_GET_FILE_RW_HINT:
      return sizeof(uint64_t);
    default:
      return 0;
  }
}

size_t process_answer_bytes(int option) {
  switch (option) {
    case PR_GET_NAME:
      return 16;
    case PR_GET_TID_ADDRESS:
      return sizeof(void*);
    case PR_GET_PDEATHSIG:
    case PR_GET_CHILD_SUBREAPER:
    case PR_GET_TSC:
    case PR_GET_FPEMU:
    case PR_GET_FPEXC:
    case PR_GET_UNALIGN:
    case PR_GET_ENDIAN:
      return sizeof(int);
    default:
      return 0;
  }
}

}  // namespace

WATCHER_INTERPOSER int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list list;
  va_start(list, request);
  void* argument = va_arg(list, void*);
  va_end(list);
  auto* begin = attached(hooks.kernel_write_begin);
  if (begin == nullptr) return real::ioctl(fd, request, argument);
  const size_t bytes = request == FS_IOC_FIEMAP ? extent_bytes(argument) : device_answer_bytes(request);
  return redirect_filling(begin, SYS_ioctl, real::ioctl, fd, request, in_out(static_cast<char*>(argument), bytes));
}

// A number and a pointer travel in the same register.
WATCHER_INTERPOSER int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  auto* argument = va_arg(list, char*);
  va_end(list);
  return fill(SYS_fcntl, real::fcntl, fd, command, in_out(argument, control_answer_bytes(command)));
}

// One function under two names where offsets have 64 bits; musl has one of them.
WATCHER_INTERPOSER int fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  auto* argument = va_arg(list, char*);
  va_end(list);
  return fill(SYS_fcntl, real::fcntl, fd, command, in_out(argument, control_answer_bytes(command)));
}

WATCHER_INTERPOSER int prctl(int option, ...) noexcept {
  va_list list;
  va_start(list, option);
  auto* first = va_arg(list, char*);
  const auto second = va_arg(list, unsigned long);
  const auto third = va_arg(list, unsigned long);
  const auto fourth = va_arg(list, unsigned long);
  va_end(list);
  return fill(SYS_prctl, real::prctl, option, in_out(first, process_answer_bytes(option)), second, third, fourth);
}

}  // namespace watcher
