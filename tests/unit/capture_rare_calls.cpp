// The rest of the matrix: what hardly anyone points at a variable.
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/timex.h>
#include <threads.h>

#include "tests/unit/capture_kernel_calls.h"

extern "C" int capget(void*, void*) noexcept;

namespace watcher::test {
namespace {

using Bytes = unsigned char*;

constexpr timespec kLong = {5, 0};

/// On a System V object of its own, which is gone afterwards.
template <class Call>
long on_segment(Call call) {
  const int segment = shmget(IPC_PRIVATE, 4096, 0600);
  if (segment < 0) return -2;
  const long result = call(segment);
  shmctl(segment, IPC_RMID, nullptr);
  return result;
}
template <class Call>
long on_semaphores(Call call) {
  const int set = semget(IPC_PRIVATE, 5, 0600);
  if (set < 0) return -2;
  unsigned short values[] = {7, 6, 5, 4, 3};
  semctl(set, 0, SETALL, values);
  const long result = call(set);
  semctl(set, 0, IPC_RMID);
  return result;
}
template <class Call>
long on_queue(Call call) {
  const int queue = msgget(IPC_PRIVATE, 0600);
  if (queue < 0) return -2;
  const long result = call(queue);
  msgctl(queue, IPC_RMID, nullptr);
  return result;
}

/// A POSIX queue with one message.
mqd_t filled_queue() {
  char name[40];
  snprintf(name, sizeof name, "/watcher-matrix-%d", getpid());
  mq_attr attributes = {};
  attributes.mq_maxmsg = 2;
  attributes.mq_msgsize = 64;
  const mqd_t queue = mq_open(name, O_CREAT | O_RDWR | O_NONBLOCK, 0600, &attributes);
  mq_unlink(name);
  mq_send(queue, "a message of POSIX", 18, 5);
  return queue;
}

void put_handle(Bytes at) {
  put<unsigned>(at, 64);
}
void put_capability(Bytes at) {
  put<uint64_t>(at, 0x20080522);  // of this process
}

/// The kernel notes what it sent in the array, whose pointers lead elsewhere.
void put_messages(Bytes at) {
  static iovec text = {const_cast<char*>("sent"), 4};
  mmsghdr messages[2] = {};
  for (mmsghdr& message : messages) {
    message.msg_hdr.msg_iov = &text;
    message.msg_hdr.msg_iovlen = 1;
  }
  memcpy(at, messages, sizeof messages);
}
long send_messages(Bytes at) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0) abort();
  return sendmmsg(ends[0], as<mmsghdr>(at), 2, 0);
}

long splice_out(Bytes at) {
  const iovec vector = {at, 20};
  return vmsplice(filled_pipe(), &vector, 1, 0);
}
long write_own_memory(Bytes at) {
  static char text[] = "written by a detour";
  const iovec local = {text, sizeof text}, remote = {at, sizeof text};
  return process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
}

int file_on_disk() {
  const int file = open("/proc/self/exe", O_RDONLY);
  return file;
}
void put_extent_query(Bytes at) {
  fiemap query = {};
  query.fm_length = ~0ull;
  query.fm_extent_count = 4;
  memcpy(at, &query, sizeof query);
}

long count_event(Bytes at) {
  return eventfd_read(eventfd(42, 0), as<eventfd_t>(at));
}

long posix_timer(Bytes at, bool set) {
  timer_t timer;
  sigevent none = {};
  none.sigev_notify = SIGEV_NONE;
  if (timer_create(CLOCK_MONOTONIC, &none, &timer) != 0) abort();
  const itimerspec later = {{0, 0}, {100, 0}};
  timer_settime(timer, 0, &later, nullptr);
  return set ? timer_settime(timer, 0, &later, as<itimerspec>(at)) : timer_gettime(timer, as<itimerspec>(at));
}

long mask(Bytes at, bool of_thread) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR2);
  sigprocmask(SIG_BLOCK, &one, nullptr);
  return of_thread ? pthread_sigmask(SIG_BLOCK, &one, as<sigset_t>(at))
                   : sigprocmask(SIG_BLOCK, &one, as<sigset_t>(at));
}

}  // namespace

const KernelCall kRareCalls[] = {
    {"sigprocmask", SYS_rt_sigprocmask, [](Bytes at) { return mask(at, false); }},
    {"pthread_sigmask", SYS_rt_sigprocmask, [](Bytes at) { return mask(at, true); }},
    {"sigwaitinfo", SYS_rt_sigtimedwait,
     [](Bytes at) -> long {
       const sigset_t set = raised_signal();
       return sigwaitinfo(&set, as<siginfo_t>(at));
     },
     nullptr, true},
    {"arc4random_buf", SYS_getrandom, [](Bytes at) -> long { return arc4random_buf(at, 99), 0; }, nullptr, true},
    {"ttyname_r", SYS_readlink,
     [](Bytes at) -> long {
       const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
       grantpt(terminal);
       unlockpt(terminal);
       return ttyname_r(open(ptsname(terminal), O_RDWR | O_NOCTTY), as<char>(at), 40);
     },
     nullptr, true},
    {"realpath", SYS_readlink,
     [](Bytes) -> long {
       char room[PATH_MAX];  // too much for the matrix' memory
       return realpath("/proc/self/exe", room) == room ? 0 : -1;
     },
     nullptr, false, 0},
    {"pthread_getaffinity_np", SYS_sched_getaffinity,
     [](Bytes at) -> long { return -pthread_getaffinity_np(pthread_self(), sizeof(cpu_set_t), as<cpu_set_t>(at)); }},
    {"pthread_getname_np", SYS_prctl,
     [](Bytes at) -> long { return -pthread_getname_np(pthread_self(), as<char>(at), 16); }},
    {"prctl PR_GET_NAME", SYS_prctl, [](Bytes at) -> long { return prctl(PR_GET_NAME, at); }},
    {"prctl PR_GET_TID_ADDRESS", SYS_prctl, [](Bytes at) -> long { return prctl(PR_GET_TID_ADDRESS, at); }, nullptr,
     true},
    {"capget", SYS_capget, [](Bytes at) -> long { return capget(at, at + 8); }, put_capability},
    {"capget unknown version", SYS_capget, [](Bytes at) -> long { return capget(at, nullptr); }},
    {"adjtimex", SYS_adjtimex, [](Bytes at) -> long { return adjtimex(as<timex>(at)) >= 0; },
     [](Bytes at) { memset(at, 0, sizeof(timex)); }, true},
    {"clock_adjtime", SYS_clock_adjtime,
     [](Bytes at) -> long { return clock_adjtime(CLOCK_REALTIME, as<timex>(at)) >= 0; },
     [](Bytes at) { memset(at, 0, sizeof(timex)); }, true},
    {"timespec_get", SYS_clock_gettime, [](Bytes at) -> long { return timespec_get(as<timespec>(at), TIME_UTC); },
     nullptr, true},
    {"thrd_sleep", SYS_clock_nanosleep,
     [](Bytes at) -> long { return wake_soon(), thrd_sleep(&kLong, as<timespec>(at)); }, nullptr, true},
    {"getcpu", SYS_getcpu, [](Bytes at) -> long { return getcpu(as<unsigned>(at), as<unsigned>(at + 64)); }, nullptr,
     true, 2},
    {"timer_gettime", SYS_timer_gettime, [](Bytes at) { return posix_timer(at, false); }, nullptr, true},
    {"timer_settime", SYS_timer_settime, [](Bytes at) { return posix_timer(at, true); }, nullptr, true},
    {"setitimer", SYS_setitimer,
     [](Bytes at) -> long {
       const itimerval off = {};
       return setitimer(ITIMER_VIRTUAL, &off, as<itimerval>(at));
     }},
    {"sched_getparam", SYS_sched_getparam, [](Bytes at) -> long { return sched_getparam(0, as<sched_param>(at)); }},
    {"sched_rr_get_interval", SYS_sched_rr_get_interval,
     [](Bytes at) -> long { return sched_rr_get_interval(0, as<timespec>(at)); }, nullptr, true},
    {"getresuid", SYS_getresuid,
     [](Bytes at) -> long { return getresuid(as<uid_t>(at), as<uid_t>(at + 4), as<uid_t>(at + 8)); }, nullptr, false,
     3},
    {"getresgid", SYS_getresgid,
     [](Bytes at) -> long { return getresgid(as<gid_t>(at), as<gid_t>(at + 4), as<gid_t>(at + 8)); }, nullptr, false,
     3},
    {"shmctl IPC_STAT", SYS_shmctl,
     [](Bytes at) { return on_segment([at](int id) { return shmctl(id, IPC_STAT, as<shmid_ds>(at)); }); }, nullptr,
     true},
    {"shmctl IPC_INFO", SYS_shmctl,
     [](Bytes at) { return on_segment([at](int id) { return shmctl(id, IPC_INFO, as<shmid_ds>(at)) < 0 ? -1 : 0; }); }},
    {"semctl IPC_STAT", SYS_semctl,
     [](Bytes at) { return on_semaphores([at](int id) { return semctl(id, 0, IPC_STAT, at); }); }, nullptr, true},
    {"semctl GETALL", SYS_semctl,
     [](Bytes at) { return on_semaphores([at](int id) { return semctl(id, 0, GETALL, at); }); }},
    {"semctl SEM_INFO", SYS_semctl,
     [](Bytes at) { return on_semaphores([at](int id) { return semctl(id, 0, SEM_INFO, at) < 0 ? -1 : 0; }); }, nullptr,
     true},
    {"msgctl IPC_STAT", SYS_msgctl,
     [](Bytes at) { return on_queue([at](int id) { return msgctl(id, IPC_STAT, as<msqid_ds>(at)); }); }, nullptr, true},
    {"mq_getattr", SYS_mq_getsetattr, [](Bytes at) -> long { return mq_getattr(filled_queue(), as<mq_attr>(at)); }},
    {"mq_setattr", SYS_mq_getsetattr,
     [](Bytes at) -> long {
       const mq_attr attributes = {};
       return mq_setattr(filled_queue(), &attributes, as<mq_attr>(at));
     }},
    {"mq_receive", SYS_mq_timedreceive,
     [](Bytes at) -> long { return mq_receive(filled_queue(), as<char>(at), 64, as<unsigned>(at + 100)); }, nullptr,
     false, 2},
    {"sendmmsg", SYS_sendmmsg, send_messages, put_messages},
    {"vmsplice", SYS_vmsplice, splice_out},
    {"process_vm_writev", SYS_process_vm_writev, write_own_memory},
    {"eventfd_read", SYS_read, count_event},
    {"getdirentries64", SYS_getdents64,
     [](Bytes at) -> long {
       off64_t position = 0;
       return getdirentries64(open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY), as<char>(at), 600, &position) > 0;
     },
     nullptr, true},
    {"name_to_handle_at", SYS_name_to_handle_at,
     [](Bytes at) -> long { return name_to_handle_at(AT_FDCWD, "/usr", as<file_handle>(at), as<int>(at + 100), 0); },
     put_handle, true, 2},
    {"ioctl FS_IOC_FIEMAP", SYS_ioctl, [](Bytes at) -> long { return ioctl(file_on_disk(), FS_IOC_FIEMAP, at); },
     put_extent_query},
    {"ioctl FIGETBSZ", SYS_ioctl, [](Bytes at) -> long { return ioctl(file_on_disk(), FIGETBSZ, at); }},
    {"epoll_pwait2", SYS_epoll_pwait2,
     [](Bytes at) -> long { return epoll_pwait2(event_poll(), as<epoll_event>(at), 8, &kLong, nullptr); }},
    {"wait", SYS_wait4, [](Bytes at) -> long { return ended_child() > 0 && wait(as<int>(at)) > 0; }},
    {"wait3", SYS_wait4,
     [](Bytes at) -> long { return ended_child() > 0 && wait3(as<int>(at), 0, as<rusage>(at + 8)) > 0; }, nullptr, true,
     2},
};
const size_t kRareCallCount = sizeof kRareCalls / sizeof kRareCalls[0];

}  // namespace watcher::test
