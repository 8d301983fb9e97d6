// Sampling, for programs that store too much for a trap at each store: from time to time the pages that were written to
// are compared with a copy. What changed is told, not who changed it, nor how often: "exact" is false.
//
// Asynchronous write protection of userfaultfd marks dirty pages and PAGEMAP_SCAN finds them, both without privilege
// (Linux 6.7). Nothing of the host's ever blocks or is signalled. A helper process does it; memory that cannot be
// registered is compared as a whole.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/bulk/bulk_event.h"
#include "runtime/capture/engines/engine.h"
#include "runtime/capture/handler/helper_process.h"
#include "runtime/capture/handler/userfault.h"
#include "runtime/capture/memory_state.h"
#include "runtime/capture/signals/fault_signals.h"
#include "runtime/capture/signals/guarded.h"
#include "runtime/capture/store/store.h"
#include "runtime/capture/threads/thread_files.h"

namespace watcher {
namespace {

constexpr int kSamples = 1024;
constexpr std::int64_t kPatienceNs = 1'000'000'000;  // for the sampler, where the host waits for it
constexpr std::int64_t kHostLookNs = 20'000'000;     // between two looks whether the host is still there
constexpr std::size_t kBytesOfWork = 4 << 20;        // compared between two signs of life

// Younger than the headers of the systems we are built on.
constexpr std::uint64_t kUserModeOnly = 1, kFeatureUnpopulated = 1 << 13, kFeatureAsync = 1 << 15;
struct ScanRequest {
  std::uint64_t size, flags, start, end, walk_end, ranges, range_count, max_pages;
  std::uint64_t inverted, mask, any_of, returned;
};
struct ScannedRange {
  std::uint64_t start, end, categories;
};
constexpr unsigned kScan = _IOWR('f', 16, ScanRequest);
constexpr std::uint64_t kScanProtects = 1, kIsWritten = 2;
constexpr int kRangesAtOnce = 256;

/// Changed with stores held off; the sampler holds a store context while it looks.
struct Sample {
  Region* region;     // null: free
  std::byte* shadow;  // as it was told last
  std::byte* now;     // behind the shadow; the same, but for what is just being looked at: others store meanwhile
  std::size_t bytes;
  bool armed;    // its pages tell when they are written to
  bool compare;  // as a whole, next time
};

constinit Sample samples[kSamples] = {};
constinit int used_samples = 0;
constinit int interval_ms = 10;
constinit int userfault = -1;  // the sampler's
constinit int pagemap = -1;
/// Futex words. `outcome`: 0 until the sampler has begun, then 1 + errno. A flush is asked for and done by number.
constinit std::atomic<std::uint32_t> outcome{0};
constinit std::atomic<std::uint32_t> asked{0};
constinit std::atomic<std::uint32_t> done{0};

timespec duration(std::int64_t ns) {
  return {ns / 1'000'000'000, ns % 1'000'000'000};
}
void wait_while(std::atomic<std::uint32_t>* word, std::uint32_t value, std::int64_t ns) {
  const timespec timeout = duration(ns);
  raw_syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &timeout, nullptr, 0);
}
void announce(std::atomic<std::uint32_t>* word, std::uint32_t value) {
  word->store(value, std::memory_order_release);
  raw_syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1 << 30, nullptr, nullptr, 0);
}

Sample* sample_of(const Region* region) {
  for (int i = 0; i < kSamples; ++i)
    if (samples[i].region == region) return &samples[i];
  return nullptr;
}

const BulkOrigin& origin() {
  static constexpr BulkOrigin kUnknown = {Op::kWrite, 0, 0, 0, 0, 0, 0, false};
  return kUnknown;
}

/// The region as if it lay where we have copied it to.
Region copied_region(const Sample& sample) {
  Region copied = *sample.region;
  const VisibleRange visible = visible_range(*sample.region);
  copied.variable.base = sample.now + (visible.begin - sample.region->begin());
  copied.variable.capacity = visible.end - visible.begin;
  copied.variable.live_size = nullptr;
  copied.variable.live_start = nullptr;
  return copied;
}

/// For the watchdog: the sampler took up a piece of work now, or has none.
void note_work(bool any) {
  if (!thread_state.is_helper) return;
  memory_state.ring->header()->handler_busy_since.store(any ? static_cast<std::uint64_t>(monotonic_ns()) : 0,
                                                        std::memory_order_relaxed);
}

/// What was unmapped behind our back stays as it was.
void compare(const Sample& sample, const Region& copied, BulkDifference* difference, std::uintptr_t begin,
             std::uintptr_t end) {
  const Region& region = *sample.region;
  if (begin < region.begin()) begin = region.begin();
  if (end > region.end()) end = region.end();
  for (std::uintptr_t at = begin; at < end;) {
    if (at % kBytesOfWork == 0) note_work(true);
    const std::uintptr_t boundary = page_of(at) + kPageBytes;
    const std::size_t bytes = (end < boundary ? end : boundary) - at;
    const std::size_t offset = at - region.begin();
    guarded_copy(sample.now + offset, reinterpret_cast<const void*>(at), bytes);
    difference->add(copied, reinterpret_cast<std::uintptr_t>(sample.now) + offset, sample.shadow + offset, bytes, true);
    at += bytes;
  }
}

void arm(Sample* sample) {
  const std::uintptr_t begin = page_of(sample->region->begin());
  const std::uintptr_t end = page_of(sample->region->end() + kPageMask);
  uffdio_register request = {.range = {begin, end - begin}, .mode = UFFDIO_REGISTER_MODE_WP, .ioctls = 0};
  uffdio_writeprotect protect = {.range = {begin, end - begin}, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
  sample->armed = raw_syscall(SYS_ioctl, userfault, UFFDIO_REGISTER, &request) == 0 &&
                  raw_syscall(SYS_ioctl, userfault, UFFDIO_WRITEPROTECT, &protect) == 0;
  sample->compare = true;
}

/// A page that several regions share is reported once: the others are looked at, too.
void mark_sharers(const Sample& sample, const ScannedRange& range) {
  for (std::uintptr_t at = range.start; at < range.end; at += kPageBytes) {
    const Page* page = find_page(at);
    if (page == nullptr || page->more == nullptr) continue;
    for_each_region(*page, [&](const Region& region) {
      Sample* other = &region == sample.region ? nullptr : sample_of(&region);
      if (other != nullptr) other->compare = true;
    });
  }
}

void look_at_dirty_pages(Sample* sample, const Region& copied, BulkDifference* difference) {
  ScannedRange ranges[kRangesAtOnce];
  const std::uintptr_t end = page_of(sample->region->end() + kPageMask);
  for (std::uintptr_t at = page_of(sample->region->begin()); at < end;) {
    ScanRequest request{};
    request.size = sizeof request;
    request.flags = kScanProtects;
    request.start = at;
    request.end = end;
    request.ranges = reinterpret_cast<std::uint64_t>(ranges);
    request.range_count = kRangesAtOnce;
    request.mask = request.returned = kIsWritten;
    const long found = raw_syscall(SYS_ioctl, pagemap, kScan, &request);
    if (found < 0) {
      sample->armed = false;
      return compare(*sample, copied, difference, at, end);
    }
    for (long i = 0; i < found; ++i) {
      compare(*sample, copied, difference, ranges[i].start, ranges[i].end);
      mark_sharers(*sample, ranges[i]);
    }
    if (request.walk_end <= at) return;
    at = request.walk_end;
  }
}

void look_at(Sample* sample) {
  BulkDifference difference;
  const Region copied = copied_region(*sample);
  if (!sample->armed) arm(sample);
  if (sample->armed && !sample->compare) {
    look_at_dirty_pages(sample, copied, &difference);
  } else {
    sample->compare = false;
    compare(*sample, copied, &difference, sample->region->begin(), sample->region->end());
  }
  if (!difference.empty()) difference.publish(copied, origin());
}

void look() {
  StoreContext* context = acquire_store_context();
  for (int i = 0; i < used_samples; ++i) {
    note_work(true);
    if (samples[i].region != nullptr) look_at(&samples[i]);
  }
  note_work(false);
  release_store_context(context);
}

/// 0 or an errno.
int begin() {
  const long opened = raw_syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | kUserModeOnly);
  if (opened < 0) return static_cast<int>(-opened);
  uffdio_api api = {.api = UFFD_API,
                    .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | kFeatureUnpopulated |
                                kFeatureAsync,
                    .ioctls = 0};
  if (const long result = raw_syscall(SYS_ioctl, opened, UFFDIO_API, &api); result != 0)
    return static_cast<int>(-result);
  userfault = static_cast<int>(opened);
  pagemap = static_cast<int>(raw_syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0));
  return pagemap < 0 ? -pagemap : 0;
}

[[noreturn]] void leave() {
  for (;;) raw_syscall(SYS_exit_group, 0);
}

bool has_ended(long host) {
  pollfd wait = {static_cast<int>(host), POLLIN, 0};
  constexpr timespec kNow = {0, 0};
  return raw_syscall(SYS_ppoll, &wait, 1, &kNow, nullptr, 0) > 0 || host_has_left();
}

/// Until the interval is over, or somebody asks. When the host has ended, its memory is still ours to look at.
void wait_for_next_look(std::uint32_t request, long host) {
  const std::int64_t end_ns = monotonic_ns() + std::int64_t{interval_ms} * 1'000'000;
  for (std::int64_t left; (left = end_ns - monotonic_ns()) > 0;) {
    wait_while(&asked, request, left < kHostLookNs ? left : kHostLookNs);
    if (asked.load(std::memory_order_acquire) != request) return;
    if (has_ended(host)) break;
  }
}

[[noreturn]] void sampler_main() {
  settle_in_helper("watcher-sampler");
  const long host = raw_syscall(SYS_pidfd_open, observed_process(), 0);
  const int error = host < 0 ? static_cast<int>(-host) : begin();
  if (error == 0) {
    RingHeader& header = *memory_state.ring->header();
    header.handler_pid.store(static_cast<std::uint32_t>(raw_syscall(SYS_getpid)), std::memory_order_relaxed);
  }
  announce(&outcome, static_cast<std::uint32_t>(error) + 1);
  if (error != 0) leave();
  for (bool ended = false; !ended;) {
    const std::uint32_t request = asked.load(std::memory_order_acquire);
    ended = has_ended(host);
    look();
    announce(&done, request);
    if (!ended) wait_for_next_look(request, host);
  }
  leave();
}

/// The sampler ends by itself when the host has. If it was killed, another one goes on: a look that was cut off may be
/// missing.
[[noreturn]] void guard_main() {
  settle_in_helper("watcher-guard");
  for (;;) {
    const long sampler = start_child_helper(Helper::kHandler, sampler_main);
    if (sampler < 0) {
      announce(&outcome, static_cast<std::uint32_t>(-sampler) + 1);
      leave();
    }
    int status = 0;
    while (raw_syscall(SYS_wait4, sampler, &status, __WALL, nullptr) == -EINTR) {
    }
    if ((WIFEXITED(status) && WEXITSTATUS(status) == 0) || host_has_left()) leave();
    RingHeader& header = *memory_state.ring->header();
    header.handler_lost.store(1, std::memory_order_relaxed);
    header.handler_pid.store(0, std::memory_order_relaxed);
    release_contexts_of_helper();
    for (Sample& sample : samples) sample.armed = false;
  }
}

/// In a forked child there is neither the sampler nor any protection.
int start() {
  for (Sample& sample : samples) sample.armed = false;
  fault_signals_install();  // the sampler inherits them: it touches memory that may be gone
  if (!helper_processes_reserve()) return ENOMEM;
  thread_files_of(static_cast<std::uint32_t>(raw_syscall(SYS_getpid)));
  outcome.store(0, std::memory_order_relaxed);
  const SignalMask mask = exchange_signal_mask(~SignalMask{0});  // inherited
  const long guard = start_detached_helper(Helper::kGuard, guard_main);
  set_signal_mask(mask);
  if (guard < 0) return static_cast<int>(-guard);
  wait_while(&outcome, 0, kPatienceNs);
  const std::uint32_t result = outcome.load(std::memory_order_acquire);
  return result == 0 ? ETIMEDOUT : static_cast<int>(result - 1);
}

int watch(Region* region) {
  Sample* sample = sample_of(nullptr);
  if (sample == nullptr) return ENOSPC;
  const std::size_t bytes = region->variable.capacity;
  const long shadow = raw_syscall(SYS_mmap, nullptr, 2 * bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (shadow < 0 && shadow > -4096) return ENOMEM;
  auto* copy = reinterpret_cast<std::byte*>(shadow);
  guarded_copy(copy, region->variable.base, bytes);
  copy_bytes(copy + bytes, copy, bytes);
  *sample = {region, copy, copy + bytes, bytes, false, false};
  if (sample - samples >= used_samples) used_samples = static_cast<int>(sample - samples) + 1;
  return 0;
}

/// The last look. The pages stay registered: that costs one fault a page at most, and nobody is told.
void unwatch(Region* region) {
  Sample* sample = sample_of(region);
  if (sample == nullptr) return;
  BulkDifference difference;
  compare(*sample, copied_region(*sample), &difference, region->begin(), region->end());
  if (!difference.empty()) difference.publish(*region, origin());
  raw_syscall(SYS_munmap, sample->shadow, 2 * sample->bytes);
  *sample = {};
}

}  // namespace

constinit const Engine sampled_engine = {
    .name = "sampled", .start = start, .arm = nullptr, .disarm = nullptr, .watch = watch, .unwatch = unwatch};

void sampled_engine_every(int milliseconds) {
  interval_ms = milliseconds;
}

void sampled_engine_look_again() {
  for (Sample& sample : samples) sample.compare = true;
}

void sampled_engine_flush() {
  const std::uint32_t request = asked.fetch_add(1, std::memory_order_acq_rel) + 1;
  raw_syscall(SYS_futex, &asked, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  for (std::uint32_t seen; (seen = done.load(std::memory_order_acquire)) != request;) {
    wait_while(&done, seen, kPatienceNs);
    if (done.load(std::memory_order_acquire) == seen) return;  // it does not run: nothing to wait for
  }
}

}  // namespace watcher
