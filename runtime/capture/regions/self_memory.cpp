#include "runtime/capture/regions/self_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "runtime/base/raw_syscall.h"
#include "runtime/queue/event_ring.h"

namespace watcher {
namespace {

constexpr int kLowestDescriptor = 900;  // hosts count on the low ones

using Descriptor = std::atomic<int>;  // 0: not open

/// Lies on a page that the kernel zeroes in every forked child, by whatever call it was forked: the inherited
/// descriptor would write to the parent.
constinit std::atomic<Descriptor*> self{nullptr};
/// Where our file is left at, and no other ever stands: none is as large, and nobody else knows the number. pwrite does
/// not move it. Set before `self`.
constinit std::int64_t secret_position = 0;

std::int64_t choose_position() {
  std::uint64_t number = 0;
  raw_syscall(SYS_getrandom, &number, sizeof number, GRND_NONBLOCK);
  if (number == 0) number = __builtin_ia32_rdtsc() * 0x9e3779b97f4a7c15u;
  constexpr std::uint64_t kBeyondFiles = std::uint64_t{1} << 62;
  return static_cast<std::int64_t>(number >> 2 | kBeyondFiles);
}

Descriptor* self_file() {
  Descriptor* file = self.load(std::memory_order_acquire);
  if (file != nullptr) return file;
  void* page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return nullptr;
  if (madvise(page, kPageBytes, MADV_WIPEONFORK) != 0) {
    munmap(page, kPageBytes);
    return nullptr;
  }
  secret_position = choose_position();
  file = static_cast<Descriptor*>(page);
  self.store(file, std::memory_order_release);
  return file;
}

int open_high(const char* path, int flags) {
  const long low = raw_syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0);
  if (low < 0) return -1;
  const long high = raw_syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, kLowestDescriptor);
  // A limit on descriptors forbids the high ones; for the time of one question a low one does.
  if (high < 0 && flags == O_RDONLY) return static_cast<int>(low);
  raw_syscall(SYS_close, low);
  return static_cast<int>(high < 0 ? -1 : high);
}

int reopen(Descriptor* file) {
  const int descriptor = open_high("/proc/self/mem", O_RDWR);
  if (descriptor < 0) return -1;
  // Who builds sandboxes may have mounted something else there.
  struct statfs system {};
  if (raw_syscall(SYS_fstatfs, descriptor, &system) != 0 || system.f_type != PROC_SUPER_MAGIC ||
      raw_syscall(SYS_lseek, descriptor, secret_position, SEEK_SET) != secret_position) {
    raw_syscall(SYS_close, descriptor);
    return -1;
  }
  file->store(descriptor, std::memory_order_relaxed);
  return descriptor;
}

/// A host that closes all descriptors may since have opened a file of its own under our number: writing there would
/// destroy it. Hence the look before every write, by the cheapest question that tells a file from another.
int descriptor_of(Descriptor* file) {
  const int descriptor = file->load(std::memory_order_relaxed);
  if (descriptor > 0 && raw_syscall(SYS_lseek, descriptor, 0, SEEK_CUR) == secret_position) return descriptor;
  return reopen(file);
}

std::uintptr_t parse_hex(const char** cursor) {
  std::uintptr_t value = 0;
  for (;; ++*cursor) {
    const char c = **cursor;
    if (c >= '0' && c <= '9')
      value = value * 16 + static_cast<std::uintptr_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      value = value * 16 + static_cast<std::uintptr_t>(c - 'a' + 10);
    else
      return value;
  }
}

Mapping parse_line(const char* line, const char* end) {
  Mapping mapping;
  const char* cursor = line;
  mapping.begin = parse_hex(&cursor);
  ++cursor;
  mapping.end = parse_hex(&cursor);
  ++cursor;
  mapping.protection =
      (cursor[0] == 'r' ? PROT_READ : 0) | (cursor[1] == 'w' ? PROT_WRITE : 0) | (cursor[2] == 'x' ? PROT_EXEC : 0);
  mapping.shared = cursor[3] == 's';
  cursor += 5;
  for (int skipped = 0; skipped < 2; ++skipped) {  // offset and device
    while (cursor < end && *cursor != ' ') ++cursor;
    ++cursor;
  }
  for (; cursor < end && *cursor >= '0' && *cursor <= '9'; ++cursor)
    mapping.inode = mapping.inode * 10 + static_cast<std::uint64_t>(*cursor - '0');
  mapping.stack = end - line > 7 && __builtin_memcmp(end - 7, "[stack]", 7) == 0;
  return mapping;
}

/// The kernel's PROCMAP_QUERY (Linux 6.11), whose header is younger than the systems we are built on.
struct MappingQuery {
  std::uint64_t size, flags, address;
  std::uint64_t begin, end, mapping_flags, page_bytes, offset, inode;
  std::uint32_t device_major, device_minor, name_bytes, build_id_bytes;
  std::uint64_t name, build_id;
};
constexpr unsigned kQueryRequest = _IOWR('f', 17, MappingQuery);
constexpr std::uint64_t kReadable = 1, kWritable = 2, kExecutable = 4, kShared = 8;

enum class Answer { kFound, kNothingThere, kNotSupported };

/// One question instead of reading the whole list, which grows with every page we protect.
Answer query_mapping(int descriptor, std::uintptr_t address, char* name, std::size_t room, Mapping* mapping) {
  MappingQuery query{};
  query.size = sizeof query;
  query.address = address;
  query.name = reinterpret_cast<std::uint64_t>(name);
  query.name_bytes = static_cast<std::uint32_t>(room);
  name[0] = '\0';
  const long result = raw_syscall(SYS_ioctl, descriptor, kQueryRequest, &query);
  if (result == -ENOENT) return Answer::kNothingThere;
  if (result != 0) return Answer::kNotSupported;
  mapping->begin = query.begin;
  mapping->end = query.end;
  mapping->protection = ((query.mapping_flags & kReadable) != 0 ? PROT_READ : 0) |
                        ((query.mapping_flags & kWritable) != 0 ? PROT_WRITE : 0) |
                        ((query.mapping_flags & kExecutable) != 0 ? PROT_EXEC : 0);
  mapping->inode = query.inode;
  mapping->shared = (query.mapping_flags & kShared) != 0;
  mapping->stack = __builtin_strcmp(name, "[stack]") == 0;
  return Answer::kFound;
}

/// Lines are at most a path long, so a line always fits the buffer.
bool search_list(int descriptor, std::uintptr_t address, char* buffer, std::size_t room, Mapping* mapping) {
  std::size_t held = 0;
  for (;;) {
    const long got = raw_syscall(SYS_read, descriptor, buffer + held, room - held);
    if (got <= 0) return false;
    held += static_cast<std::size_t>(got);
    char* line = buffer;
    while (auto* end =
               static_cast<char*>(__builtin_memchr(line, '\n', held - static_cast<std::size_t>(line - buffer)))) {
      *mapping = parse_line(line, end);
      if (address < mapping->end) return address >= mapping->begin;
      line = end + 1;
    }
    held -= static_cast<std::size_t>(line - buffer);
    __builtin_memmove(buffer, line, held);
  }
}

}  // namespace

bool describe_mapping(std::uintptr_t address, Mapping* mapping) {
  char buffer[8192];
  const int descriptor = open_high("/proc/self/maps", O_RDONLY);
  if (descriptor < 0) return false;
  const Answer answer = query_mapping(descriptor, address, buffer, sizeof buffer / 2, mapping);
  const bool found = answer == Answer::kNotSupported ? search_list(descriptor, address, buffer, sizeof buffer, mapping)
                                                     : answer == Answer::kFound;
  raw_syscall(SYS_close, descriptor);
  return found;
}

void open_self_memory() {
  Descriptor* file = self_file();
  if (file != nullptr) descriptor_of(file);
}

bool write_protected_memory(std::uintptr_t address, const std::byte* from, std::size_t bytes) {
  Descriptor* file = self.load(std::memory_order_acquire);
  if (file == nullptr) return false;
  const int descriptor = descriptor_of(file);
  if (descriptor < 0) return false;
  return raw_syscall(SYS_pwrite64, descriptor, from, bytes, address) == static_cast<long>(bytes);
}

}  // namespace watcher
