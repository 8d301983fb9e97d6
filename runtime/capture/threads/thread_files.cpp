#include "runtime/capture/threads/thread_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/base/text_buffer.h"

namespace watcher {
namespace {

constinit std::uint32_t process = 0;

/// linux_dirent64; libc has it under the name of its own interface.
struct Entry {
  std::uint64_t inode;
  std::int64_t offset;
  std::uint16_t bytes;
  std::uint8_t type;
  char name[1];
};

long open_thread_file(std::uint32_t thread_id, const char* name, int flags) {
  TextBuffer<64> path;
  path.add("/proc/").add_decimal(process).add("/task/");
  if (thread_id != 0) path.add_decimal(thread_id).add("/").add(name);
  return raw_syscall(SYS_openat, AT_FDCWD, path.c_str(), flags | O_RDONLY | O_CLOEXEC, 0);
}

/// How much there was; 0 also when there is no such thread.
std::size_t read_thread_file(std::uint32_t thread_id, const char* name, char* to, std::size_t room) {
  const long file = open_thread_file(thread_id, name, 0);
  if (file < 0) return 0;
  const long got = raw_syscall(SYS_read, file, to, room);
  raw_syscall(SYS_close, file);
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
  const std::size_t bytes = read_thread_file(thread_id, "syscall", text, sizeof text);
  if (bytes == 0) return ThreadDoes::kNothing;
  if (text[0] == '-') return ThreadDoes::kUserFault;
  if (text[0] < '0' || text[0] > '9') return ThreadDoes::kRuns;
  *call = parse_decimal(text, text + bytes);
  return ThreadDoes::kCall;
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

void for_each_thread(void (*visit)(std::uint32_t thread_id)) {
  const long directory = open_thread_file(0, "", O_DIRECTORY);
  if (directory < 0) return;
  alignas(Entry) char entries[2048];
  for (;;) {
    const long got = raw_syscall(SYS_getdents64, directory, entries, sizeof entries);
    if (got <= 0) break;
    for (long at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const Entry*>(entries + at);
      if (entry->name[0] != '.') visit(parse_decimal(entry->name, entry->name + 10));
      at += entry->bytes;
    }
  }
  raw_syscall(SYS_close, directory);
}

}  // namespace watcher
