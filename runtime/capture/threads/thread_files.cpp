#include "runtime/capture/threads/thread_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>

#include <initializer_list>

#include "runtime/base/raw_syscall.h"
#include "runtime/base/text_buffer.h"
#include "runtime/capture/handler/helper_process.h"

namespace watcher {
namespace {

constinit std::uint32_t process = 0;

long open_thread_file(std::uint32_t thread_id, const char* name) {
  TextBuffer<64> path;
  path.add("/proc/").add_decimal(process).add("/task/").add_decimal(thread_id).add("/").add(name);
  return raw_syscall(SYS_openat, AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC, 0);
}

/// How much there was; 0 also when there is no such thread.
std::size_t read_thread_file(std::uint32_t thread_id, const char* name, char* to, std::size_t room) {
  const long file = open_thread_file(thread_id, name);
  if (file < 0) return 0;
  const long got = raw_syscall(SYS_read, file, to, room);
  raw_syscall(SYS_close, file);
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

/// One that is asked for stays open; of a thread that has ended it reads as nothing.
struct OpenFile {
  std::uint32_t thread_id;
  int file;
};
constexpr std::uint32_t kOpenFiles = 64;
using OpenFiles = OpenFile[kOpenFiles];  // by thread id, modulo
constinit OpenFiles system_calls = {}, sleeps = {};

std::size_t read_kept_file(OpenFiles& files, std::uint32_t thread_id, const char* name, char* to, std::size_t room) {
  if (descriptors_are_scarce()) return read_thread_file(thread_id, name, to, room);
  OpenFile& kept = files[thread_id % kOpenFiles];
  if (kept.thread_id == thread_id) {
    const long got = raw_syscall(SYS_pread64, kept.file, to, room, 0);
    if (got > 0) return static_cast<std::size_t>(got);
  }
  if (kept.thread_id != 0) raw_syscall(SYS_close, kept.file);
  const long file = open_thread_file(thread_id, name);
  kept = {file < 0 ? 0 : thread_id, static_cast<int>(file)};
  const long got = file < 0 ? 0 : raw_syscall(SYS_pread64, file, to, room, 0);
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

std::uint32_t parse_decimal(const char* text, const char* end) {
  std::uint32_t value = 0;
  for (; text < end && *text >= '0' && *text <= '9'; ++text)
    value = value * 10 + static_cast<std::uint32_t>(*text - '0');
  return value;
}

SignalMask mask_in(const char* text, std::size_t bytes, const char* name) {
  constexpr std::size_t kNameBytes = 8, kDigits = 16;
  SignalMask mask = 0;
  for (std::size_t at = 0; at + kNameBytes + kDigits < bytes; ++at) {
    if (__builtin_memcmp(text + at, name, kNameBytes) != 0) continue;
    for (std::size_t i = at + kNameBytes; i < at + kNameBytes + kDigits; ++i)
      mask = mask * 16 + static_cast<SignalMask>(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
    break;
  }
  return mask;
}

}  // namespace

void thread_files_of(std::uint32_t process_id) {
  process = process_id;
  for (OpenFiles* files : {&system_calls, &sleeps})
    for (OpenFile& kept : *files) kept.thread_id = 0;
}

std::uint32_t observed_process() {
  return process;
}

bool host_has_left() {
  const long order = raw_syscall(SYS_kcmp, raw_syscall(SYS_getpid), process, KCMP_VM, 0, 0);
  return order > 0 || order == -ESRCH;
}

ThreadDoes what_thread_does(std::uint32_t thread_id, std::uint32_t* call) {
  char text[16];
  const std::size_t bytes = read_kept_file(system_calls, thread_id, "syscall", text, sizeof text);
  if (bytes == 0) return ThreadDoes::kNothing;
  if (text[0] == '-') return ThreadDoes::kUserFault;
  if (text[0] < '0' || text[0] > '9') return ThreadDoes::kRuns;
  *call = parse_decimal(text, text + bytes);
  return ThreadDoes::kCall;
}

bool sleeps_elsewhere(std::uint32_t thread_id) {
  constexpr char kInFault[] = "handle_userfault";
  char function[sizeof kInFault - 1];
  const std::size_t bytes = read_kept_file(sleeps, thread_id, "wchan", function, sizeof function);
  if (bytes == 0 || function[0] == '0') return false;
  return bytes != sizeof function || __builtin_memcmp(function, kInFault, bytes) != 0;
}

bool signal_waits(std::uint32_t thread_id, int signal_number, bool* exists) {
  char status[4096];
  const std::size_t bytes = read_thread_file(thread_id, "status", status, sizeof status);
  *exists = bytes != 0;
  const SignalMask waiting = mask_in(status, bytes, "SigPnd:\t") & mask_in(status, bytes, "SigBlk:\t");
  return (waiting & signal_bit(signal_number)) != 0;
}

bool is_kernel_worker(std::uint32_t thread_id) {
  char name[16];
  return read_thread_file(thread_id, "comm", name, sizeof name) > 4 && __builtin_memcmp(name, "iou-", 4) == 0;
}

}  // namespace watcher
