#include "runtime/process/worker_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

namespace watcher {
namespace {

constexpr rlim_t kDescriptors = 256;
constexpr int kNicer = 5;  // than we are: one that runs wild leaves the processors to the host, and to who ends it
constexpr rlim_t kFileBytes = rlim_t{1} << 30;

// A limit of ours never is above what the user has.
void lower(__rlimit_resource what, rlim_t limit) {
  rlimit now{};
  if (getrlimit(what, &now) != 0) return;
  const rlim_t lowered = std::min(limit, now.rlim_max);
  const rlimit both = {lowered, lowered};
  setrlimit(what, &both);
}

bool is_kept(std::string_view variable) {
  constexpr std::string_view kDropped[] = {
      "LD_PRELOAD=", "LD_AUDIT=", "NODE_OPTIONS=", "PYTHONINSPECT=", "PYTHONSTARTUP="};
  if (variable.starts_with("WATCHER_")) return false;
  return std::ranges::none_of(kDropped, [&](std::string_view dropped) { return variable.starts_with(dropped); });
}

}  // namespace

std::vector<std::string> worker_environment() {
  std::vector<std::string> kept;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable)
    if (is_kept(*variable)) kept.emplace_back(*variable);
  return kept;
}

// RLIMIT_NPROC counts all processes of the user and does not hold for root: forbid_processes takes its place. Address
// space is only reserved by V8 in large amounts, so what counts is RLIMIT_DATA, which threads' stacks are part of.
void limit_worker(std::uint64_t memory_mb) {
  lower(RLIMIT_DATA, memory_mb << 20);
  lower(RLIMIT_AS, (memory_mb << 20) + (rlim_t{64} << 30));
  lower(RLIMIT_FSIZE, kFileBytes);
  lower(RLIMIT_NOFILE, kDescriptors);
  lower(RLIMIT_CORE, 0);
  setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + kNicer);
  const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score < 0) return;
  (void)!write(score, "900", 3);
  close(score);
}

// clone3 hides its flags behind a pointer; libc goes back to clone when there is none.
void forbid_processes() {
  constexpr auto kNumber = offsetof(seccomp_data, nr);
  constexpr auto kFlags = offsetof(seccomp_data, args);
  constexpr unsigned kLoad = BPF_LD | BPF_W | BPF_ABS;
  constexpr unsigned kEqual = BPF_JMP | BPF_JEQ | BPF_K;
  constexpr unsigned kReturn = BPF_RET | BPF_K;
  constexpr unsigned kOtherAbi = 0x40000000;  // x32
  sock_filter filter[] = {
      BPF_STMT(kLoad, offsetof(seccomp_data, arch)),
      BPF_JUMP(kEqual, AUDIT_ARCH_X86_64, 0, 8),
      BPF_STMT(kLoad, kNumber),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kOtherAbi, 6, 0),
      BPF_JUMP(kEqual, SYS_fork, 5, 0),
      BPF_JUMP(kEqual, SYS_vfork, 4, 0),
      BPF_JUMP(kEqual, SYS_clone3, 4, 0),
      BPF_JUMP(kEqual, SYS_clone, 0, 4),
      BPF_STMT(kLoad, kFlags),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 2, 0),
      BPF_STMT(kReturn, SECCOMP_RET_ERRNO | EAGAIN),
      BPF_STMT(kReturn, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(kReturn, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {sizeof filter / sizeof filter[0], filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

}  // namespace watcher
