// The functions of rare_calls.cpp, for the tables of real_functions.h. Resolved late, but for those of a signal
// handler.
#pragma once

#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/klog.h>
#include <sys/msg.h>
#include <sys/quota.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/timex.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

extern "C" {
// In no header of libc, or only in a newer one.
void arc4random_buf(void*, size_t) noexcept;
int capget(void* header, void* sets) noexcept;
int __ttyname_r_chk(int, char*, size_t, size_t) noexcept;
char* __realpath_chk(const char*, char*, size_t) noexcept;
}

// clang-format off
#define WATCHER_RARE_FUNCTIONS(X) \
  X(adjtimex) X(ntp_adjtime) X(clock_adjtime) X(timespec_get) X(thrd_sleep) X(getcpu) X(pthread_getaffinity_np) \
  X(pthread_getname_np) X(capget) X(quotactl) X(klogctl) X(arc4random_buf) X(shmctl) \
  X(shmat) X(shmdt) X(semctl) X(msgctl) X(mq_getattr) \
  X(mq_setattr) X(sendmmsg) X(vmsplice) X(process_vm_writev) X(eventfd_read) X(getdirentries) X(getdirentries64) \
  X(name_to_handle_at) X(ttyname_r) X(__ttyname_r_chk) X(realpath) X(__realpath_chk)
// clang-format on
