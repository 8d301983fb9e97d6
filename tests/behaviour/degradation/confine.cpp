// Takes something away from a program before it runs:
//
//   confine CONDITION… -- PROGRAM ARGUMENT…
//
// nofile=N as=BYTES fsize=BYTES nproc=N (limits), block=N ignore=N (signals), deny=CALL,ERRNO (by number), noexec
// (mprotect and mmap of executable memory), noproc, nomem (/proc/self/mem), tmpfs=DIRECTORY,BYTES.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int kCannot = 77;

[[noreturn]] void cannot(const std::string& condition) {
  fprintf(stderr, "confine: %s: %s\n", condition.c_str(), strerror(errno));
  _exit(kCannot);
}

bool limit(int resource, rlim_t most) {
  const rlimit both = {most, most};
  return setrlimit(static_cast<__rlimit_resource_t>(resource), &both) == 0;
}

bool install(const std::vector<sock_filter>& filter) {
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

sock_filter load(size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offset));
}

bool deny(unsigned call, unsigned error) {
  return install({load(offsetof(seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)});
}

/// mprotect to executable, as SELinux's execmem and systemd's MemoryDenyWriteExecute refuse it; the loader only maps.
bool deny_executable() {
  return install({load(offsetof(seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
                  load(offsetof(seccomp_data, args) + 2 * sizeof(uint64_t)),
                  BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1),
                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)});
}

bool own_mounts() {
  return unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

bool block(int signal_number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal_number);
  return sigprocmask(SIG_BLOCK, &set, nullptr) == 0;
}

bool small_disk(const std::string& value) {
  const size_t comma = value.rfind(',');
  const std::string options = "mode=1777,size=" + value.substr(comma + 1);
  return own_mounts() && mount("none", value.substr(0, comma).c_str(), "tmpfs", 0, options.c_str()) == 0;
}

bool apply(const std::string& condition) {
  const size_t equals = condition.find('=');
  const std::string name = condition.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : condition.substr(equals + 1);
  const auto number = strtoull(value.c_str(), nullptr, 10);
  if (name == "nofile") return limit(RLIMIT_NOFILE, number);
  if (name == "as") return limit(RLIMIT_AS, number);
  if (name == "fsize") return limit(RLIMIT_FSIZE, number);
  if (name == "nproc") return limit(RLIMIT_NPROC, number);
  if (name == "block") return block(static_cast<int>(number));
  if (name == "ignore") return signal(static_cast<int>(number), SIG_IGN) != SIG_ERR;
  if (name == "deny") {
    const size_t comma = value.find(',');
    return deny(static_cast<unsigned>(number), static_cast<unsigned>(strtoul(value.c_str() + comma + 1, nullptr, 10)));
  }
  if (name == "noexec") return deny_executable();
  if (name == "noproc") return own_mounts() && mount("none", "/proc", "tmpfs", 0, nullptr) == 0;
  if (name == "nomem") return own_mounts() && mount("/dev/null", "/proc/self/mem", nullptr, MS_BIND, nullptr) == 0;
  if (name == "tmpfs") return small_disk(value);
  errno = EINVAL;
  return false;
}

}  // namespace

int main(int, char** argv) {
  char** next = argv + 1;
  for (; *next != nullptr && strcmp(*next, "--") != 0; ++next)
    if (!apply(*next)) cannot(*next);
  if (*next == nullptr) return kCannot;
  execvp(next[1], next + 1);
  cannot(next[1]);
}
