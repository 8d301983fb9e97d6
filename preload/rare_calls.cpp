// Calls that hardly anyone points at a variable, but that fill a caller's memory all the same: the rest of libc's.
//
// Not here, because libc reads into memory of its own: gethostname, getdomainname, getlogin_r, ptsname_r, getloadavg,
// statvfs, tcgetattr, sigwait, getline, getdelim, fscanf, timer_create, scandir. Out of reach, because libc's own code
// makes the call: aio_read (on a thread of libc's), a stream's buffer given to setvbuf, res_query, sigsetjmp and
// getcontext.
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "preload/filling.h"
#include "preload/real_functions.h"

namespace watcher {
namespace {

size_t capability_bytes(const void* header) {
  if (!readable(header, sizeof(__user_cap_header_struct))) return 0;
  const uint32_t version = static_cast<const __user_cap_header_struct*>(header)->version;
  return sizeof(__user_cap_data_struct) * (version == _LINUX_CAPABILITY_VERSION_1 ? 1 : 2);
}

size_t quota_answer_bytes(int command) {
  switch (static_cast<unsigned>(command) >> SUBCMDSHIFT) {
    case Q_GETFMT:
      return sizeof(uint32_t);
    case Q_GETINFO:
      return sizeof(dqinfo);
    case Q_GETQUOTA:
      return sizeof(dqblk);
    case 0x800009:  // Q_GETNEXTQUOTA: the same and an id
      return sizeof(dqblk) + sizeof(uint64_t);
    default:
      return 0;
  }
}

size_t log_bytes(int type, int bytes) {
  constexpr int kRead = 2, kReadAllAndClear = 4;
  return type >= kRead && type <= kReadAllAndClear && bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

size_t shared_memory_answer_bytes(int command) {
  switch (command) {
    case IPC_STAT:
    case SHM_STAT:
    case SHM_STAT_ANY:
      return sizeof(shmid_ds);
    case IPC_INFO:
      return sizeof(shminfo);
    case SHM_INFO:
      return sizeof(shm_info);
    default:
      return 0;
  }
}

size_t semaphore_count(int set) {
  semid_ds status = {};
  return real::semctl(set, 0, IPC_STAT, &status) == 0 ? status.sem_nsems : 0;
}

size_t semaphore_answer_bytes(int set, int command) {
  switch (command) {
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY:
      return sizeof(semid_ds);
    case IPC_INFO:
    case SEM_INFO:
      return sizeof(seminfo);
    case GETALL:
      return semaphore_count(set) * sizeof(unsigned short);
    default:
      return 0;
  }
}

size_t queue_answer_bytes(int command) {
  switch (command) {
    case IPC_STAT:
    case MSG_STAT:
    case MSG_STAT_ANY:
      return sizeof(msqid_ds);
    case IPC_INFO:
    case MSG_INFO:
      return sizeof(msginfo);
    default:
      return 0;
  }
}

size_t handle_bytes(const file_handle* handle) {
  return readable(handle, sizeof *handle) ? sizeof *handle + handle->handle_bytes : 0;
}

}  // namespace

// Time.

WATCHER_INTERPOSER int adjtimex(timex* state) noexcept {
  return fill(SYS_adjtimex, real::adjtimex, in_out(state));
}
WATCHER_INTERPOSER int ntp_adjtime(timex* state) noexcept {
  return fill(SYS_adjtimex, real::ntp_adjtime, in_out(state));
}
WATCHER_INTERPOSER int clock_adjtime(clockid_t clock, timex* state) noexcept {
  return fill(SYS_clock_adjtime, real::clock_adjtime, clock, in_out(state));
}
WATCHER_INTERPOSER int timespec_get(timespec* now, int base) noexcept {
  return fill(SYS_clock_gettime, real::timespec_get, out_if_positive(now), base);
}
WATCHER_INTERPOSER int thrd_sleep(const timespec* duration, timespec* left) {
  return fill(SYS_clock_nanosleep, real::thrd_sleep, duration, changed(left));
}

// The process and its threads. Those of POSIX return an error number.

WATCHER_INTERPOSER int getcpu(unsigned* processor, unsigned* node) noexcept {
  return fill(SYS_getcpu, real::getcpu, out(processor), out(node));
}
WATCHER_INTERPOSER int pthread_getaffinity_np(pthread_t thread, size_t bytes, cpu_set_t* processors) noexcept {
  return fill(SYS_sched_getaffinity, real::pthread_getaffinity_np, thread, bytes, changed(processors, bytes));
}
WATCHER_INTERPOSER int pthread_getname_np(pthread_t thread, char* name, size_t bytes) noexcept {
  return fill(SYS_prctl, real::pthread_getname_np, thread, changed(name, bytes), bytes);
}
WATCHER_INTERPOSER int capget(void* header, void* sets) noexcept {
  return fill(SYS_capget, real::capget, changed(static_cast<char*>(header), sizeof(__user_cap_header_struct)),
              in_out(static_cast<char*>(sets), capability_bytes(header)));
}

// The machine.

WATCHER_INTERPOSER int quotactl(int command, const char* device, int id, char* answer) noexcept {
  return fill(SYS_quotactl, real::quotactl, command, device, id, in_out(answer, quota_answer_bytes(command)));
}
WATCHER_INTERPOSER int klogctl(int type, char* text, int bytes) noexcept {
  return fill(SYS_syslog, real::klogctl, type, by_result(text, log_bytes(type, bytes)), bytes);
}
// Who finds the name must get random bytes, even where the libc behind us does not have it yet.
WATCHER_INTERPOSER void arc4random_buf(void* buffer, size_t bytes) noexcept {
  into_buffer(buffer, bytes, SYS_getrandom, [=](void* target) {
    if (real::arc4random_buf.address() != nullptr) {
      real::arc4random_buf(target, bytes);
      return static_cast<ssize_t>(bytes);
    }
    for (size_t done = 0; done < bytes;) {
      const ssize_t got = syscall(SYS_getrandom, static_cast<char*>(target) + done, bytes - done, 0);
      if (got > 0) done += static_cast<size_t>(got);
    }
    return static_cast<ssize_t>(bytes);
  });
}

// System V's and POSIX's queues, messages.

WATCHER_INTERPOSER int shmctl(int segment, int command, shmid_ds* answer) noexcept {
  return fill(SYS_shmctl, real::shmctl, segment, command, in_out(answer, shared_memory_answer_bytes(command)));
}
WATCHER_INTERPOSER int semctl(int set, int number, int command, ...) noexcept {
  va_list list;
  va_start(list, command);
  auto* argument = va_arg(list, char*);
  va_end(list);
  if (attached(hooks.kernel_write_begin) == nullptr) return real::semctl(set, number, command, argument);
  return fill(SYS_semctl, real::semctl, set, number, command, in_out(argument, semaphore_answer_bytes(set, command)));
}
WATCHER_INTERPOSER int msgctl(int queue, int command, msqid_ds* answer) noexcept {
  return fill(SYS_msgctl, real::msgctl, queue, command, in_out(answer, queue_answer_bytes(command)));
}
WATCHER_INTERPOSER int mq_getattr(mqd_t queue, mq_attr* attributes) noexcept {
  return fill(SYS_mq_getsetattr, real::mq_getattr, queue, out(attributes));
}
WATCHER_INTERPOSER int mq_setattr(mqd_t queue, const mq_attr* __restrict attributes,
                                  mq_attr* __restrict previous) noexcept {
  return fill(SYS_mq_getsetattr, real::mq_setattr, queue, attributes, out(previous));
}
// The kernel notes in each message how much of it was sent.
WATCHER_INTERPOSER int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  return fill(SYS_sendmmsg, real::sendmmsg, fd, in_out(messages, count * sizeof *messages), count, flags);
}

// Between pipes, processes and memory.

WATCHER_INTERPOSER ssize_t vmsplice(int fd, const iovec* vectors, size_t count, unsigned flags) {
  const auto call = [=](const iovec* targets) { return real::vmsplice(fd, targets, count, flags); };
  if (attached(hooks.kernel_write_begin) == nullptr) return call(vectors);
  ErrnoKeeper keeper;
  const bool to_memory = (real::fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
  errno = 0;
  return to_memory ? into_vectors(vectors, count, SYS_vmsplice, call) : call(vectors);
}
WATCHER_INTERPOSER ssize_t process_vm_writev(pid_t process, const iovec* local, unsigned long local_count,
                                             const iovec* remote, unsigned long remote_count,
                                             unsigned long flags) noexcept {
  const auto call = [=](const iovec* targets) {
    return real::process_vm_writev(process, local, local_count, targets, remote_count, flags);
  };
  return process == getpid() ? into_vectors(remote, remote_count, SYS_process_vm_writev, call) : call(remote);
}
WATCHER_INTERPOSER int eventfd_read(int fd, eventfd_t* value) {
  return fill(SYS_read, real::eventfd_read, fd, out(value));
}

// Directories and names.

WATCHER_INTERPOSER ssize_t getdirentries(int fd, char* __restrict entries, size_t bytes,
                                         off_t* __restrict position) noexcept {
  return fill(SYS_getdents64, real::getdirentries, fd, by_result(entries, bytes), bytes, position);
}
WATCHER_INTERPOSER ssize_t getdirentries64(int fd, char* __restrict entries, size_t bytes,
                                           off64_t* __restrict position) noexcept {
  return fill(SYS_getdents64, real::getdirentries64, fd, by_result(entries, bytes), bytes, position);
}
// Too small a handle is told how large it would have to be.
WATCHER_INTERPOSER int name_to_handle_at(int fd, const char* path, file_handle* handle, int* mount,
                                         int flags) noexcept {
  return fill(SYS_name_to_handle_at, real::name_to_handle_at, fd, path, changed(handle, handle_bytes(handle)),
              changed(mount), flags);
}
WATCHER_INTERPOSER int ttyname_r(int fd, char* name, size_t bytes) noexcept {
  return fill(SYS_readlink, real::ttyname_r, fd, changed(name, bytes), bytes);
}
WATCHER_INTERPOSER int __ttyname_r_chk(int fd, char* name, size_t bytes, size_t capacity) noexcept {
  return fill(SYS_readlink, real::__ttyname_r_chk, fd, changed(name, bytes), bytes, capacity);
}
// Older libcs resolve in place.
WATCHER_INTERPOSER char* realpath(const char* __restrict path, char* __restrict resolved) noexcept {
  return fill(SYS_readlink, real::realpath, path, text(resolved, PATH_MAX));
}
WATCHER_INTERPOSER char* __realpath_chk(const char* path, char* resolved, size_t capacity) noexcept {
  return fill(SYS_readlink, real::__realpath_chk, path, text(resolved, capacity < PATH_MAX ? capacity : PATH_MAX),
              capacity);
}

}  // namespace watcher
