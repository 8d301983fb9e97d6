#include "runtime/capture/uffd_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/alias_pages.h"
#include "runtime/capture/engine.h"
#include "runtime/capture/store.h"

namespace watcher {
namespace {

constexpr int kFaults = 64;
constexpr std::int64_t kPatienceNs = 5'000'000;        // for the signal to be answered, before looking why it is not
constexpr std::int64_t kLongestStallNs = 200'000'000;  // and in any case
constexpr std::int64_t kOpenNs = 1'000'000;            // a page stays open for a store of the kernel
constexpr int kTickMs = 1;
constexpr int kRepeatsOfKernel = 64;
constexpr std::size_t kStackBytes = 256 * 1024;

enum class FaultState : std::uint8_t {
  kFree,
  kSignalled,  // the storing thread will do it
  kOpened      // the page is open, its content before is in `snapshot`
};

/// Owned by the handler thread; only `answered` is also set by the storing thread.
struct PendingFault {
  FaultState state;
  std::atomic<bool> answered;
  std::uint32_t thread_id;
  std::uintptr_t page;
  std::int64_t since_ns;
  int repeats;
};

constinit PendingFault faults[kFaults] = {};
constinit std::byte snapshots[kFaults][kPageBytes] = {};
constinit std::atomic<int> writer_cpu{-1};
constinit int own_cpu = -1;
constinit int served = -1;
constinit int signal_to_send = 0;
constinit int process_id = 0;

std::int64_t now_ns() {
  timespec now{};
  raw_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

void write_protect(std::uintptr_t page, std::uint64_t mode) {
  uffdio_writeprotect request = {.range = {page, kPageBytes}, .mode = mode};
  while (raw_syscall(SYS_ioctl, served, UFFDIO_WRITEPROTECT, &request) == -EAGAIN) {
  }
}

/// Reads a file of the thread's directory under /proc. Returns how much there was.
std::size_t read_thread_file(std::uint32_t thread_id, const char* name, char* to, std::size_t room) {
  char path[64] = "/proc/self/task/";
  char digits[12];
  int count = 0;
  for (std::uint32_t rest = thread_id; rest != 0; rest /= 10) digits[count++] = static_cast<char>('0' + rest % 10);
  char* end = path + 16;
  while (count > 0) *end++ = digits[--count];
  for (; *name != '\0'; ++name) *end++ = *name;
  *end = '\0';
  const long file = raw_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return 0;
  const long got = raw_syscall(SYS_read, file, to, room);
  raw_syscall(SYS_close, file);
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

/// Is the faulting thread in a system call? The message does not say. A thread that is in none shows -1.
bool faulted_in_kernel(std::uint32_t thread_id) {
  char first = '-';
  return read_thread_file(thread_id, "/syscall", &first, 1) == 1 && first >= '0' && first <= '9';
}

/// Does the thread block our signal? Then it sleeps until the page opens.
bool blocks_signal(std::uint32_t thread_id) {
  char status[4096];
  const std::size_t bytes = read_thread_file(thread_id, "/status", status, sizeof status);
  for (std::size_t at = 0; at + 24 < bytes; ++at) {
    if (__builtin_memcmp(status + at, "SigBlk:\t", 8) != 0) continue;
    SignalMask mask = 0;
    for (std::size_t i = at + 8; i < at + 24; ++i) {
      const char digit = status[i];
      mask = mask * 16 + static_cast<SignalMask>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return (mask & signal_bit(signal_to_send)) != 0;
  }
  return bytes == 0;
}

const std::byte* alias_of(std::uintptr_t page) {
  return reinterpret_cast<const std::byte*>(page) + alias_distance();
}

/// For a store that cannot be carried out by its thread: it goes on at once, and what it wrote is found out later.
void open_page(PendingFault* fault) {
  copy_bytes(snapshots[fault - faults], alias_of(fault->page), kPageBytes);
  fault->state = FaultState::kOpened;
  fault->since_ns = now_ns();
  write_protect(fault->page, 0);  // wakes the thread as well
}

bool find_difference(StoreContext* context, const std::byte* before, const std::byte* now, std::uintptr_t page) {
  std::size_t first = 0;
  std::size_t last = kPageBytes;
  while (first < last && before[first] == now[first]) ++first;
  while (last > first && before[last - 1] == now[last - 1]) --last;
  context->address = page + first;
  context->bytes = static_cast<std::uint32_t>(last - first);
  context->image = const_cast<std::byte*>(now) + first;
  return last > first;
}

/// False when it has to be tried again: whoever changes the region map or stores to the page goes first.
bool close_page(const PendingFault& fault) {
  StoreContext* context = try_acquire_store_context();
  if (context == nullptr) return false;
  Page* page = find_page(fault.page);
  const bool locked = page->lock.try_lock();
  if (locked && page->armed) {
    write_protect(fault.page, UFFDIO_WRITEPROTECT_MODE_WP);
    context->pages[context->page_count++] = {page, fault.page};
    context->phase = Phase::kStepping;
    context->opened[0] = fault.page;
    context->opened_count = 1;
    copy_bytes(context->scratch, snapshots[&fault - faults], kPageBytes);
    if (find_difference(context, context->scratch, alias_of(fault.page), fault.page)) {
      capture_ranges(context, context->address, context->address + context->bytes);
      claim_events(context, {Op::kKernelWrite, 0, 0, nullptr, fault.thread_id});
      commit_events(context);
    }
    context->page_count = 0;
  }
  if (locked) page->lock.unlock();
  release_store_context(context);
  return locked;
}

/// A thread that only waits for its turn on a processor is not stuck: its store would be told less exactly.
bool is_stuck(const PendingFault& fault, std::int64_t age_ns) {
  return age_ns > kLongestStallNs || (age_ns > kPatienceNs && blocks_signal(fault.thread_id));
}

void serve_pending() {
  const std::int64_t now = now_ns();
  for (PendingFault& fault : faults) {
    if (fault.state == FaultState::kSignalled) {
      if (fault.answered.load(std::memory_order_acquire))
        fault.state = FaultState::kFree;
      else if (is_stuck(fault, now - fault.since_ns))
        open_page(&fault);
    } else if (fault.state == FaultState::kOpened && now - fault.since_ns > kOpenNs && close_page(fault)) {
      fault.state = FaultState::kFree;
    }
  }
}

PendingFault* find_pending(std::uint32_t thread_id, std::uintptr_t page) {
  for (PendingFault& fault : faults)
    if (fault.state != FaultState::kFree && fault.page == page &&
        (fault.thread_id == thread_id || fault.state == FaultState::kOpened))
      return &fault;
  return nullptr;
}

PendingFault* new_pending() {
  for (;;) {
    for (PendingFault& fault : faults)
      if (fault.state == FaultState::kFree) return &fault;
    serve_pending();
    yield_cpu();
  }
}

bool send_signal(const PendingFault& fault) {
  siginfo_t info{};
  info.si_signo = signal_to_send;
  info.si_code = SI_QUEUE;
  info.si_pid = process_id;
  info.si_value.sival_ptr = reinterpret_cast<void*>(fault.page | static_cast<std::uintptr_t>(&fault - faults));
  return raw_syscall(SYS_rt_tgsigqueueinfo, process_id, fault.thread_id, signal_to_send, &info) == 0;
}

/// A thread that is told again has either come back to its store, or spins in the kernel because a signal is pending.
bool repeats(PendingFault* fault) {
  if (fault->state == FaultState::kOpened) {
    write_protect(fault->page, 0);
    return true;
  }
  if (fault->answered.load(std::memory_order_acquire)) {
    fault->state = FaultState::kFree;
    return false;
  }
  if (++fault->repeats > kRepeatsOfKernel) open_page(fault);
  return true;
}

void on_fault(std::uint32_t thread_id, std::uintptr_t page) {
  const Page* entry = find_page(page);
  if (entry == nullptr || !entry->armed) return write_protect(page, 0);
  PendingFault* known = find_pending(thread_id, page);
  if (known != nullptr && repeats(known)) return;
  PendingFault* fault = new_pending();
  fault->state = FaultState::kSignalled;
  fault->answered.store(false, std::memory_order_relaxed);
  fault->thread_id = thread_id;
  fault->page = page;
  fault->since_ns = now_ns();
  fault->repeats = 0;
  if (faulted_in_kernel(thread_id) || !send_signal(*fault)) open_page(fault);
}

/// A hand-over on one CPU is several times cheaper than across two (engine-facts.md).
void follow_writer() {
  const int cpu = writer_cpu.load(std::memory_order_relaxed);
  if (cpu < 0 || cpu == own_cpu || cpu >= CPU_SETSIZE) return;
  own_cpu = cpu;
  cpu_set_t set{};
  CPU_SET(static_cast<unsigned>(cpu), &set);
  raw_syscall(SYS_sched_setaffinity, 0, sizeof set, &set);
}

bool any_pending() {
  for (const PendingFault& fault : faults)
    if (fault.state != FaultState::kFree) return true;
  return false;
}

/// The thread has descriptors of its own from here on: it opens files under /proc, which must not show in the host's
/// table, and keeps serving when the host closes everything.
void leave_descriptor_table() {
  if (raw_syscall(SYS_unshare, CLONE_FILES) != 0) return;
  if (served > 0) raw_syscall(SYS_close_range, 0, served - 1, 0);
  raw_syscall(SYS_close_range, served + 1, ~0u, 0);
}

void* serve(void*) {
  leave_descriptor_table();
  for (;;) {
    pollfd wait = {served, POLLIN, 0};
    const long ready = raw_syscall(SYS_poll, &wait, 1, any_pending() ? kTickMs : -1);
    if (ready > 0 && (wait.revents & (POLLERR | POLLNVAL)) != 0) return nullptr;
    uffd_msg message;
    while (raw_syscall(SYS_read, served, &message, sizeof message) == static_cast<long>(sizeof message)) {
      if (message.event != UFFD_EVENT_PAGEFAULT) continue;
      on_fault(message.arg.pagefault.feat.ptid, page_of(message.arg.pagefault.address));
      follow_writer();
    }
    serve_pending();
  }
}

}  // namespace

int uffd_thread_start(int descriptor, int signal_number) {
  served = descriptor;
  signal_to_send = signal_number;
  process_id = static_cast<int>(raw_syscall(SYS_getpid));
  own_cpu = -1;
  for (PendingFault& fault : faults) fault.state = FaultState::kFree;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  const SignalMask mask = exchange_signal_mask(~SignalMask{0});  // inherited by the thread
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, serve, nullptr);
  set_signal_mask(mask);
  pthread_attr_destroy(&attributes);
  return error;
}

bool uffd_message(const siginfo_t* info, std::uintptr_t* address) {
  if (info->si_code != SI_QUEUE || info->si_pid != process_id) return false;
  const auto value = reinterpret_cast<std::uintptr_t>(info->si_value.sival_ptr);
  if ((value & kPageMask) >= kFaults) return false;
  unsigned cpu = 0;
  if (raw_syscall(SYS_getcpu, &cpu, nullptr, nullptr) == 0)
    writer_cpu.store(static_cast<int>(cpu), std::memory_order_relaxed);
  faults[value & kPageMask].answered.store(true, std::memory_order_release);
  *address = page_of(value);
  return true;
}

}  // namespace watcher
