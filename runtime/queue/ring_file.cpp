#include "runtime/queue/ring_file.h"

#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "runtime/base/process_start.h"
#include "runtime/base/raw_syscall.h"
#include "runtime/base/text_buffer.h"
#include "runtime/queue/ring_layout.h"
#include "runtime/queue/ring_lock.h"

namespace watcher {
namespace {

using Path = TextBuffer<PATH_MAX>;

constexpr int kRenameAttempts = 8;
constexpr std::uint32_t kFewestSlots = 64 * 1024 / kSlotBytes;  // and bytes of heap: of a ring made smaller than asked
constexpr std::uint64_t kSmallestHeapBytes = 64 * 1024;
constexpr std::uint64_t kBackedHeapBytes = 4 << 20;  // 60,000 names and places

// Where this process's rings go; needed again in fork children. Written once, before any thread of ours could fork.
constinit char output_directory[PATH_MAX];

/// Closes without libc: a fork child must not enter a cancellation point.
class RawFd {
 public:
  explicit RawFd(long fd) : fd_(static_cast<int>(fd)) {}
  RawFd(const RawFd&) = delete;
  RawFd& operator=(const RawFd&) = delete;
  ~RawFd() {
    if (fd_ >= 0) raw_syscall(SYS_close, fd_);
  }
  int get() const { return fd_; }
  int error() const { return fd_ < 0 ? -fd_ : 0; }

 private:
  int fd_;
};

int current_pid() {
  return static_cast<int>(raw_syscall(SYS_getpid));
}

int write_at(int fd, const void* bytes, std::size_t length, std::uint64_t offset) {
  const auto* from = static_cast<const char*>(bytes);
  while (length > 0) {
    const long written = raw_syscall(SYS_pwrite64, fd, from, length, offset);
    if (written == -EINTR) continue;
    if (written <= 0) return written == 0 ? EIO : static_cast<int>(-written);
    from += written;
    offset += static_cast<std::uint64_t>(written);
    length -= static_cast<std::size_t>(written);
  }
  return 0;
}

// A file system without fallocate gets its blocks by being written to: a hole would be a SIGBUS on a full disk.
int fill_with_zeros(int fd, std::uint64_t begin, std::uint64_t end) {
  static constinit const char zeros[64 * 1024] = {};
  for (std::uint64_t at = begin; at < end; at += sizeof zeros) {
    const std::uint64_t left = end - at;
    const int error = write_at(fd, zeros, left < sizeof zeros ? left : sizeof zeros, at);
    if (error != 0) return error;
  }
  return 0;
}

int preallocate(int fd, std::uint64_t begin, std::uint64_t end) {
  long result;
  do result = raw_syscall(SYS_fallocate, fd, 0, begin, end - begin);
  while (result == -EINTR);
  if (result == -EOPNOTSUPP || result == -ENOSYS) return fill_with_zeros(fd, begin, end);
  return static_cast<int>(-result);
}

int check_file_limit(std::uint64_t bytes) {
  rlimit limit{};
  if (raw_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, nullptr, &limit) != 0) return 0;
  return limit.rlim_cur < bytes ? EFBIG : 0;
}

void format_header(RingHeader* header, const RingSettings& settings, const RingLayout& layout) {
  header->magic = kRingMagic;
  header->version = kRingVersion;
  header->slot_count = layout.slot_count;
  header->dictionary_offset = layout.dictionary_offset();
  header->heap_bytes = layout.heap_bytes;
  header->slots_offset = layout.slots_offset();
  header->file_bytes = layout.file_bytes();
  header->pid = static_cast<std::uint32_t>(current_pid());
  header->parent_pid = static_cast<std::uint32_t>(raw_syscall(SYS_getppid));
  header->clock = settings.clock;
  header->on_full = settings.on_full;
  header->start_tsc = __builtin_ia32_rdtsc();
  header->start_realtime_ns = EventRing::realtime_ns();
  header->run_id = settings.run_id;
  header->collector_pid.store(settings.collector_pid, std::memory_order_relaxed);
  header->start_ticks = process_start_ticks(header->pid);
  header->state.store(RingState::kOpen, std::memory_order_relaxed);
}

int write_dictionary_head(int fd, std::uint32_t used_units, std::uint64_t heap_bytes, std::uint64_t backed_bytes) {
  const std::uint32_t words[4] = {used_units, static_cast<std::uint32_t>(heap_bytes / 8), 0,
                                  static_cast<std::uint32_t>(backed_bytes / 8)};
  return write_at(fd, words, sizeof words, RingLayout::dictionary_offset());
}

/// How much of the heap has blocks from the start. The rest is a hole of the file, backed when it is needed.
std::uint64_t backed_at_first(const RingLayout& layout, const EventRing* parent) {
  const std::uint64_t copied =
      parent != nullptr ? padded_to_page(std::uint64_t{parent->dictionary().used_units()} * 8) : 0;
  const std::uint64_t backed = copied > kBackedHeapBytes ? copied + kBackedHeapBytes : kBackedHeapBytes;
  return backed < layout.heap_bytes ? backed : layout.heap_bytes;
}

int preallocate_ring(int fd, const RingLayout& layout, std::uint64_t backed_bytes) {
  const std::uint64_t first = layout.heap_offset() + backed_bytes;
  if (first >= layout.slots_offset()) return preallocate(fd, 0, layout.file_bytes());
  const int error = preallocate(fd, 0, first);
  return error != 0 ? error : preallocate(fd, layout.slots_offset(), layout.file_bytes());
}

// The parent goes on writing while we copy. Index first, extent of the heap next, heap last: whatever the copied index
// mentions was whole before, and lies within the copied extent.
int copy_dictionary(int fd, const Dictionary& from, const RingLayout& layout, std::uint64_t backed_bytes) {
  int error = write_at(fd, from.header(), sizeof(DictionaryHeader), RingLayout::dictionary_offset());
  const std::uint32_t used = from.used_units();
  if (std::uint64_t{used} * 8 > backed_bytes) {  // other threads went on
    const std::uint64_t more = padded_to_page(std::uint64_t{used} * 8);
    if (error == 0) error = preallocate(fd, layout.heap_offset() + backed_bytes, layout.heap_offset() + more);
    backed_bytes = more;
  }
  if (error == 0) error = write_at(fd, from.heap(), std::size_t{used} * 8, RingLayout::heap_offset());
  return error != 0 ? error : write_dictionary_head(fd, used, layout.heap_bytes, backed_bytes);
}

int map_at(std::byte* address, std::uint64_t bytes, int fd, std::uint64_t offset) {
  const long result = raw_syscall(SYS_mmap, address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset);
  return result < 0 && result > -4096 ? static_cast<int>(-result) : 0;
}

int map_ring(std::byte* address, int fd, const RingLayout& layout) {
  const int error = map_at(address, layout.file_bytes(), fd, 0);
  if (error != 0) return error;
  const int second = map_at(address + layout.file_bytes(), layout.slots_bytes(), fd, layout.slots_offset());
  // else the first touch of a page reads as far ahead as the disk is set to: zeros, and up to the whole file
  raw_syscall(SYS_madvise, address, layout.mapping_bytes(), MADV_RANDOM);
  return second;
}

std::byte* reserve_addresses(std::uint64_t bytes, int* error) {
  const long result =
      raw_syscall(SYS_mmap, nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  *error = result < 0 && result > -4096 ? static_cast<int>(-result) : 0;
  return *error == 0 ? reinterpret_cast<std::byte*>(result) : nullptr;
}

bool remember_directory(const char* directory) {
  std::size_t length = 0;
  while (directory[length] != '\0' && length < sizeof output_directory - 1) {
    output_directory[length] = directory[length];
    ++length;
  }
  output_directory[length] = '\0';
  return directory[length] == '\0';
}

long rename_if_free(const Path& from, const Path& to) {
  return raw_syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE);
}

// Gives the finished file its name. A ring already there belongs to an earlier incarnation of the pid.
int publish(const Path& temporary, std::uint64_t stamp) {
  Path name;
  name.add(output_directory).add("/ring.").add_decimal(static_cast<unsigned>(current_pid()));
  long result = -EEXIST;
  for (int attempt = 0; attempt < kRenameAttempts && result == -EEXIST; ++attempt) {
    result = rename_if_free(temporary, name);
    if (result != -EEXIST) break;
    Path aside;
    aside.add(name.c_str()).add(".").add_hex(stamp + static_cast<unsigned>(attempt));
    rename_if_free(name, aside);
  }
  // File systems without RENAME_NOREPLACE: the name was free a moment ago, or its owner is this very process.
  if (result == -EINVAL) {
    result = raw_syscall(SYS_link, temporary.c_str(), name.c_str());
    raw_syscall(SYS_unlink, temporary.c_str());
  }
  return static_cast<int>(-result);
}

/// The file under its temporary name, complete and mapped; closed again when this returns.
int build_file(const Path& temporary, const RingSettings& settings, const RingLayout& layout, const EventRing* parent,
               std::byte* address) {
  const RawFd fd(
      raw_syscall(SYS_openat, AT_FDCWD, temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (fd.error() != 0) return fd.error();
  raw_syscall(SYS_fchmod, fd.get(), 0600);  // a umask may have taken the owner's own bits
  take_ring_lock(fd.get(), RingLock::kWriter);
  RingHeader header{};
  format_header(&header, settings, layout);
  if (parent != nullptr) {
    header.engine = parent->header()->engine;
    header.engine_reason = parent->header()->engine_reason;
    header.host = parent->header()->host;
  }
  const std::uint64_t backed = backed_at_first(layout, parent);
  int error = preallocate_ring(fd.get(), layout, backed);
  if (error == 0)
    error = parent != nullptr ? copy_dictionary(fd.get(), parent->dictionary(), layout, backed)
                              : write_dictionary_head(fd.get(), 1, layout.heap_bytes, backed);
  if (error == 0) error = write_at(fd.get(), &header, sizeof header, 0);
  return error != 0 ? error : map_ring(address, fd.get(), layout);
}

// Whether our lock is still there now that our descriptor is not: see ring_lock.h.
bool lock_outlives_descriptor(const Path& temporary) {
  const RawFd fd(raw_syscall(SYS_openat, AT_FDCWD, temporary.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0));
  return fd.error() == 0 && ring_lock_held(fd.get(), RingLock::kWriter);
}

/// Everything but the mapping's address is the same for a first ring and a child's one.
int make_ring(const RingSettings& settings, const RingLayout& layout, const EventRing* parent, std::byte* address) {
  if (const int error = check_file_limit(layout.file_bytes())) return error;
  const std::uint64_t stamp = __builtin_ia32_rdtsc();
  Path temporary;
  temporary.add(output_directory).add("/.ring.").add_decimal(static_cast<unsigned>(current_pid()));
  temporary.add(".").add_hex(stamp);
  if (temporary.overflowed()) return ENAMETOOLONG;
  int error = build_file(temporary, settings, layout, parent, address);
  if (error == 0) {
    reinterpret_cast<RingHeader*>(address)->holds_lock = lock_outlives_descriptor(temporary);
    error = publish(temporary, stamp);
  }
  if (error != 0) raw_syscall(SYS_unlink, temporary.c_str());
  return error;
}

// Private memory in place of the parent's ring: full from the start, so every claim is refused and counted.
void deafen(std::byte* address, const RingSettings& settings, const RingLayout& layout) {
  const long result = raw_syscall(SYS_mmap, address, layout.mapping_bytes(), PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  if (result < 0 && result > -4096) return;
  auto* header = reinterpret_cast<RingHeader*>(address);
  format_header(header, settings, layout);
  header->on_full = OnFull::kDropNewest;
  header->state.store(RingState::kClosed, std::memory_order_relaxed);
  header->head.store(layout.slot_count, std::memory_order_relaxed);
}

int create_ring(const RingSettings& settings, const RingLayout& layout, EventRing* ring) {
  int error = 0;
  std::byte* address = reserve_addresses(layout.mapping_bytes(), &error);
  if (address == nullptr) return error;
  error = make_ring(settings, layout, nullptr, address);
  if (error != 0)
    raw_syscall(SYS_munmap, address, layout.mapping_bytes());
  else
    *ring = EventRing(address);
  return error;
}

/// By half. On a full disk as far as it may be, for the output and the rings of children need room as well. False when
/// it is as small already.
bool make_smaller(RingLayout* layout, bool disk_is_full) {
  if (layout->heap_bytes > kBackedHeapBytes) return layout->heap_bytes = kBackedHeapBytes, true;  // mostly a hole
  const bool fewer_slots = layout->slot_count > kFewestSlots;
  const bool smaller_heap = layout->heap_bytes > kSmallestHeapBytes;
  if (fewer_slots) layout->slot_count = disk_is_full ? kFewestSlots : layout->slot_count / 2;
  if (smaller_heap) layout->heap_bytes = disk_is_full ? kSmallestHeapBytes : padded_to_page(layout->heap_bytes / 2);
  return fewer_slots || smaller_heap;
}

}  // namespace

std::uint32_t ring_slot_count(std::uint64_t wanted) {
  std::uint32_t slots = kMinSlots;
  while (slots < wanted && slots < kMaxSlots) slots *= 2;
  return slots;
}

int ring_create(const RingSettings& settings, EventRing* ring) {
  if (settings.directory == nullptr || settings.directory[0] != '/') return EINVAL;
  if (!remember_directory(settings.directory)) return ENAMETOOLONG;
  RingLayout layout{ring_slot_count(settings.slot_count), padded_to_page(settings.heap_bytes)};
  if (!layout.valid()) return EINVAL;
  for (;;) {
    const int error = create_ring(settings, layout, ring);
    const bool disk_is_full = error == ENOSPC || error == EDQUOT;
    if ((!disk_is_full && error != EFBIG && error != ENOMEM) || !make_smaller(&layout, disk_is_full)) return error;
  }
}

int ring_renew_in_child(EventRing* ring) {
  const RingHeader* parent = ring->header();
  if (parent == nullptr) return EINVAL;
  RingSettings settings;
  settings.on_full = parent->on_full;
  settings.clock = parent->clock;
  settings.run_id = parent->run_id;
  settings.collector_pid = parent->collector_pid.load(std::memory_order_relaxed);
  const std::uint32_t paused = parent->paused.load(std::memory_order_relaxed);
  const RingLayout layout{parent->slot_count, parent->heap_bytes};
  auto* address = reinterpret_cast<std::byte*>(ring->header());

  // A handler that records an event between the two halves of the mapping would write half into the parent's ring.
  const std::uint64_t all_signals = ~std::uint64_t{0};
  std::uint64_t previous_mask = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all_signals, &previous_mask, sizeof previous_mask);
  const int error = make_ring(settings, layout, ring, address);
  if (error != 0) deafen(address, settings, layout);
  ring->header()->paused.store(paused, std::memory_order_relaxed);
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &previous_mask, nullptr, sizeof previous_mask);
  return error;
}

}  // namespace watcher
