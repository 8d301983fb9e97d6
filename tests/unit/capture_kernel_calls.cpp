#include "tests/unit/capture_kernel_calls.h"

namespace watcher::test {
namespace {

using Bytes = unsigned char*;

constexpr size_t kRoom = 600;  // that every call may fill
constexpr timespec kLong = {5, 0};

long same(Bytes at, const char* returned) {
  return returned == as<char>(at) ? 0 : -1;
}

void put_room(Bytes at) {
  put<socklen_t>(at, 64);
}
void put_zero(Bytes at) {
  put<int64_t>(at, 0);
}

long sized(Bytes at, int (*call)(int, sockaddr*, socklen_t*), int fd) {
  return call(fd, as<sockaddr>(at + 8), as<socklen_t>(at));
}

long select_on(Bytes at, bool with_mask) {
  const int fd = dup2(filled_pipe(), 63);
  for (int other = 0; other < fd; ++other)
    if (fcntl(other, F_GETFD) < 0) dup2(fd, other);
  auto* reading = as<fd_set>(at);
  timespec at_once = {};
  timeval at_once_too = {};
  return with_mask ? pselect(fd + 1, reading, nullptr, nullptr, &at_once, nullptr)
                   : select(fd + 1, reading, nullptr, nullptr, &at_once_too);
}

void put_all_descriptors(Bytes at) {
  memset(at, 0xff, 8);
}

void put_pollfds(Bytes at) {
  const pollfd files[] = {{-1, POLLIN, 9}, {999, POLLIN, 0}};
  memcpy(at, files, sizeof files);
}

void put_lock(Bytes at) {
  static struct flock lock;  // its padding is zero as well
  lock.l_type = F_WRLCK;
  lock.l_len = 1;
  memcpy(at, &lock, sizeof lock);
}

long receive_message(Bytes at) {
  iovec vectors[] = {{at, 100}, {at + 100, 400}};
  msghdr message = {};
  message.msg_iov = vectors;
  message.msg_iovlen = 1;
  return recvmsg(filled_socket(), &message, 0);
}

long receive_messages(Bytes at) {
  iovec vector = {at, 300};
  mmsghdr message = {};
  message.msg_hdr.msg_iov = &vector;
  message.msg_hdr.msg_iovlen = 1;
  return recvmmsg(filled_socket(), &message, 1, MSG_DONTWAIT, nullptr);
}

long receive_queued(Bytes at) {
  const int queue = msgget(IPC_PRIVATE, 0600);
  if (queue < 0) return -2;
  const struct {
    long type;
    char text[40];
  } message = {3, "a message of System V"};
  if (msgsnd(queue, &message, sizeof message.text, 0) != 0) abort();
  const long got = msgrcv(queue, at, 100, 0, 0);
  msgctl(queue, IPC_RMID, nullptr);
  return got;
}

long list_directory(Bytes at) {
  const int directory = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY);
  return getdents64(directory, at, kRoom) > 0;
}

long own_memory(Bytes at) {
  static const char text[] = "from elsewhere in the process";
  const iovec local = {at, sizeof text}, remote = {const_cast<char*>(text), sizeof text};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
}

long copy_ranges(Bytes at) {
  return copy_file_range(content_file(), as<off64_t>(at), memfd_create("to", 0), nullptr, 100, 0);
}

long splice_file(Bytes at) {
  int ends[2];
  if (pipe(ends) != 0) abort();
  return splice(content_file(), as<off64_t>(at), ends[1], nullptr, 50, 0);
}

long scatter(Bytes at, int form) {
  const iovec vectors[] = {{at, 10}, {at + 10, 90}};
  const int file = content_file();
  if (form == 0) return readv(file, vectors + 1, 1);
  if (form == 1) return preadv(file, vectors + 1, 1, 7);
  return preadv2(file, vectors + 1, 1, 9, 0);
}

long timer(Bytes at, bool set) {
  const int clock = timerfd_create(CLOCK_MONOTONIC, 0);
  const itimerspec later = {{3, 0}, {100, 0}};
  timerfd_settime(clock, 0, &later, nullptr);
  return set ? timerfd_settime(clock, 0, &later, as<itimerspec>(at)) : timerfd_gettime(clock, as<itimerspec>(at));
}

long attributes(Bytes at, bool list) {
  const int file = memfd_create("attributes", 0);
  return list ? flistxattr(file, as<char>(at), 100) : fgetxattr(file, "user.none", at, 100);
}

}  // namespace

const KernelCall kKernelCalls[] = {
    {"read", SYS_read, [](Bytes at) -> long { return read(content_file(), at, kRoom); }},
    {"read pipe", SYS_read, [](Bytes at) -> long { return read(filled_pipe(), at, kRoom); }},
    {"pread", SYS_pread64, [](Bytes at) -> long { return pread(content_file(), at, 77, 5); }},
    {"pread64", SYS_pread64, [](Bytes at) -> long { return pread64(content_file(), at, 78, 6); }},
    {"readv", SYS_readv, [](Bytes at) { return scatter(at, 0); }},
    {"preadv", SYS_preadv, [](Bytes at) { return scatter(at, 1); }},
    {"preadv2", SYS_preadv2, [](Bytes at) { return scatter(at, 2); }},
    {"recv", SYS_recvfrom, [](Bytes at) -> long { return recv(filled_socket(), at, kRoom, 0); }},
    {"recvfrom", SYS_recvfrom,
     [](Bytes at) -> long { return recvfrom(filled_socket(), at, 200, 0, nullptr, nullptr); }},
    {"recvmsg", SYS_recvmsg, receive_message},
    {"recvmmsg", SYS_recvmmsg, receive_messages},
    {"fread", SYS_read, [](Bytes at) -> long { return static_cast<long>(fread(at, 3, 100, content_stream())); }},
    {"fgets", SYS_read, [](Bytes at) -> long { return same(at, fgets(as<char>(at), 50, content_stream())); }},
    {"getrandom", SYS_getrandom, [](Bytes at) -> long { return getrandom(at, 64, 0); }, nullptr, true},
    {"getentropy", SYS_getrandom, [](Bytes at) -> long { return getentropy(at, 64); }, nullptr, true},
    {"stat", SYS_newfstatat, [](Bytes at) -> long { return stat("/", as<struct stat>(at)); }},
    {"lstat", SYS_newfstatat, [](Bytes at) -> long { return lstat("/proc/self", as<struct stat>(at)); }, nullptr, true},
    {"fstat", SYS_fstat, [](Bytes at) -> long { return fstat(0, as<struct stat>(at)); }},
    {"fstatat", SYS_newfstatat, [](Bytes at) -> long { return fstatat(AT_FDCWD, "/", as<struct stat>(at), 0); }},
    {"stat64", SYS_newfstatat, [](Bytes at) -> long { return stat64("/", as<struct stat64>(at)); }},
    {"stat nothing", SYS_newfstatat, [](Bytes at) -> long { return stat("/nothing/there", as<struct stat>(at)); },
     nullptr, false, 0},
    {"statx", SYS_statx, [](Bytes at) -> long { return statx(AT_FDCWD, "/", 0, 0xfff, as<struct statx>(at)); }},
    {"statfs", SYS_statfs, [](Bytes at) -> long { return statfs("/proc", as<struct statfs>(at)); }},
    {"fstatfs", SYS_fstatfs, [](Bytes at) -> long { return fstatfs(filled_pipe(), as<struct statfs>(at)); }},
    {"getcwd", SYS_getcwd, [](Bytes at) -> long { return same(at, getcwd(as<char>(at), kRoom)); }},
    {"getcwd no room", SYS_getcwd, [](Bytes at) -> long { return same(at, getcwd(as<char>(at), 1)); }, nullptr, false,
     0},
    {"readlink", SYS_readlink, [](Bytes at) -> long { return readlink("/proc/self/exe", as<char>(at), kRoom); }},
    {"readlinkat", SYS_readlinkat,
     [](Bytes at) -> long { return readlinkat(AT_FDCWD, "/proc/self/exe", as<char>(at), 9); }},
    {"flistxattr", SYS_flistxattr, [](Bytes at) { return attributes(at, true); }, nullptr, false, 0},
    {"fgetxattr", SYS_fgetxattr, [](Bytes at) { return attributes(at, false); }, nullptr, false, 0},
    {"getdents64", SYS_getdents64, list_directory, nullptr, true},
    {"ioctl FIONREAD", SYS_ioctl, [](Bytes at) -> long { return ioctl(filled_pipe(), FIONREAD, at); }},
    {"ioctl TIOCGWINSZ", SYS_ioctl, [](Bytes at) -> long { return ioctl(posix_openpt(O_RDWR), TIOCGWINSZ, at); }},
    {"ioctl TIOCGPTN", SYS_ioctl, [](Bytes at) -> long { return ioctl(posix_openpt(O_RDWR), TIOCGPTN, at); }, nullptr,
     true},
    {"fcntl F_GETLK", SYS_fcntl, [](Bytes at) -> long { return fcntl(content_file(), F_GETLK, at); }, put_lock},
    {"fcntl F_GETOWN_EX", SYS_fcntl, [](Bytes at) -> long { return fcntl(filled_pipe(), F_GETOWN_EX, at); }},
    {"poll", SYS_poll, [](Bytes at) -> long { return poll(as<pollfd>(at), 2, 0); }, put_pollfds},
    {"ppoll", SYS_ppoll, [](Bytes at) -> long { return ppoll(as<pollfd>(at), 2, &kLong, nullptr); }, put_pollfds},
    {"select", SYS_select, [](Bytes at) { return select_on(at, false); }, put_all_descriptors},
    {"pselect", SYS_pselect6, [](Bytes at) { return select_on(at, true); }, put_all_descriptors},
    {"epoll_wait", SYS_epoll_wait,
     [](Bytes at) -> long { return epoll_wait(event_poll(), as<epoll_event>(at), 8, 0); }},
    {"epoll_pwait", SYS_epoll_pwait,
     [](Bytes at) -> long { return epoll_pwait(event_poll(), as<epoll_event>(at), 8, 0, nullptr); }},
    {"getsockname", SYS_getsockname, [](Bytes at) { return sized(at, getsockname, listening_socket(false)); }, put_room,
     true, 2},
    {"getpeername", SYS_getpeername, [](Bytes at) { return sized(at, getpeername, listening_socket(false)); }, put_room,
     false, 0},
    {"accept", SYS_accept, [](Bytes at) { return sized(at, accept, listening_socket(true)); }, put_room, true, 2},
    {"accept4", SYS_accept4,
     [](Bytes at) -> long { return accept4(listening_socket(true), as<sockaddr>(at + 8), as<socklen_t>(at), 0); },
     put_room, true, 2},
    {"getsockopt", SYS_getsockopt,
     [](Bytes at) -> long { return getsockopt(filled_socket(), SOL_SOCKET, SO_RCVBUF, at + 8, as<socklen_t>(at)); },
     put_room, false, 2},
    {"getrlimit", SYS_prlimit64, [](Bytes at) -> long { return getrlimit(RLIMIT_NOFILE, as<struct rlimit>(at)); }},
    {"prlimit", SYS_prlimit64,
     [](Bytes at) -> long { return prlimit(0, RLIMIT_STACK, nullptr, as<struct rlimit>(at)); }},
    {"getrusage", SYS_getrusage, [](Bytes at) -> long { return getrusage(RUSAGE_SELF, as<rusage>(at)); }, nullptr,
     true},
    {"times", SYS_times, [](Bytes at) -> long { return times(as<tms>(at)) != 0; }, nullptr, true},
    {"clock_gettime", SYS_clock_gettime,
     [](Bytes at) -> long { return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, as<timespec>(at)); }, nullptr, true},
    {"gettimeofday", SYS_gettimeofday, [](Bytes at) -> long { return gettimeofday(as<timeval>(at), nullptr); }, nullptr,
     true},
    {"time", SYS_time, [](Bytes at) -> long { return time(as<time_t>(at)) > 0; }, nullptr, true},
    {"clock_getres", SYS_clock_getres,
     [](Bytes at) -> long { return clock_getres(CLOCK_MONOTONIC, as<timespec>(at)); }},
    {"nanosleep", SYS_nanosleep, [](Bytes at) -> long { return wake_soon(), nanosleep(&kLong, as<timespec>(at)); },
     nullptr, true},
    {"clock_nanosleep", SYS_clock_nanosleep,
     [](Bytes at) -> long { return wake_soon(), clock_nanosleep(CLOCK_MONOTONIC, 0, &kLong, as<timespec>(at)); },
     nullptr, true},
    {"getitimer", SYS_getitimer, [](Bytes at) -> long { return getitimer(ITIMER_VIRTUAL, as<itimerval>(at)); },
     put_zero},
    {"timerfd_gettime", SYS_timerfd_gettime, [](Bytes at) { return timer(at, false); }, nullptr, true},
    {"timerfd_settime", SYS_timerfd_settime, [](Bytes at) { return timer(at, true); }, nullptr, true},
    {"pipe", SYS_pipe, [](Bytes at) -> long { return pipe(as<int>(at)); }},
    {"pipe2", SYS_pipe2, [](Bytes at) -> long { return pipe2(as<int>(at), O_CLOEXEC); }},
    {"socketpair", SYS_socketpair, [](Bytes at) -> long { return socketpair(AF_UNIX, SOCK_STREAM, 0, as<int>(at)); }},
    {"sigpending", SYS_rt_sigpending, [](Bytes at) -> long { return raised_signal(), sigpending(as<sigset_t>(at)); }},
    {"sigtimedwait", SYS_rt_sigtimedwait,
     [](Bytes at) -> long {
       const sigset_t set = raised_signal();
       return sigtimedwait(&set, as<siginfo_t>(at), &kLong);
     },
     nullptr, true},
    {"sched_getaffinity", SYS_sched_getaffinity,
     [](Bytes at) -> long { return sched_getaffinity(0, sizeof(cpu_set_t), as<cpu_set_t>(at)); }},
    {"getgroups", SYS_getgroups, [](Bytes at) -> long { return getgroups(16, as<gid_t>(at)); }, nullptr, false, 0},
    {"uname", SYS_uname, [](Bytes at) -> long { return uname(as<utsname>(at)); }},
    {"sysinfo", SYS_sysinfo, [](Bytes at) -> long { return sysinfo(as<struct sysinfo>(at)); }, nullptr, true},
    {"process_vm_readv", SYS_process_vm_readv, own_memory},
    {"mincore", SYS_mincore,
     [](Bytes at) -> long {
       return mincore(reinterpret_cast<void*>(~4095ul & reinterpret_cast<size_t>(&kLong)), 1, at);
     }},
    {"waitpid", SYS_wait4, [](Bytes at) -> long { return waitpid(ended_child(), as<int>(at), 0) > 0; }},
    {"wait4", SYS_wait4, [](Bytes at) -> long { return wait4(ended_child(), as<int>(at), 0, nullptr) > 0; }},
    {"waitid", SYS_waitid,
     [](Bytes at) -> long { return waitid(P_PID, static_cast<id_t>(ended_child()), as<siginfo_t>(at), WEXITED); },
     nullptr, true},
    {"sendfile", SYS_sendfile,
     [](Bytes at) -> long { return sendfile(memfd_create("to", 0), content_file(), as<off_t>(at), 100); }, put_zero},
    {"splice", SYS_splice, splice_file, put_zero},
    {"copy_file_range", SYS_copy_file_range, copy_ranges, put_zero},
    {"msgrcv", SYS_msgrcv, receive_queued},
};
const size_t kKernelCallCount = sizeof kKernelCalls / sizeof kKernelCalls[0];

}  // namespace watcher::test
