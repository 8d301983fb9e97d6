#include "runtime/capture/handler/uffd_faults.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include <atomic>

#include "runtime/base/raw_syscall.h"
#include "runtime/capture/engines/engine.h"
#include "runtime/capture/handler/fault_witness.h"
#include "runtime/capture/handler/kernel_window.h"
#include "runtime/capture/handler/userfault.h"
#include "runtime/capture/regions/region_map.h"
#include "runtime/capture/store/store_context.h"
#include "runtime/capture/threads/thread_files.h"

namespace watcher {
namespace {

constexpr int kFaults = 512;
constexpr int kUntracked = kFaults;              // travels with the signal all the same
constexpr std::int64_t kPatienceNs = 5'000'000;  // before looking why a signal is not answered
constexpr std::int64_t kDoubtNs = 1'000'000'000;
constexpr int kRepeatsOfKernel = 64;

enum class FaultState : std::uint8_t {
  kFree,
  kSignalled,  // the storing thread will do it
  kWaiting,    // its page cannot be opened just now
  kDoubted     // woken, to see whether it tells again
};

/// Owned by the handler; only `answered` is also set by the storing thread.
struct PendingFault {
  FaultState state;
  std::atomic<bool> answered;
  Opening opening;
  std::int64_t look_ns;
  std::uint64_t wakes;  // there had been
  int repeats;
};

constinit PendingFault faults[kFaults] = {};
constinit int used_faults = 0;
constinit std::atomic<int> writer_cpu{-1};
constinit int signal_to_send = 0;

PendingFault* find_pending(std::uint32_t thread_id, std::uintptr_t page) {
  for (int i = 0; i < used_faults; ++i) {
    PendingFault& fault = faults[i];
    if (fault.state != FaultState::kFree && fault.opening.thread_id == thread_id &&
        page_of(fault.opening.address) == page)
      return &fault;
  }
  return nullptr;
}

PendingFault* new_pending(FaultState state, const Opening& opening, std::int64_t now_ns) {
  for (int i = 0; i < kFaults; ++i) {
    PendingFault& fault = faults[i];
    if (fault.state == FaultState::kSignalled && fault.answered.load(std::memory_order_acquire))
      fault.state = FaultState::kFree;
    if (fault.state != FaultState::kFree) continue;
    if (i >= used_faults) used_faults = i + 1;
    fault.state = state;
    fault.answered.store(false, std::memory_order_relaxed);
    fault.opening = opening;
    fault.look_ns = now_ns + (state == FaultState::kDoubted ? kDoubtNs : kPatienceNs);
    fault.wakes = userfault_wakes();
    fault.repeats = 0;
    return &fault;
  }
  return nullptr;
}

/// More threads than we can remember: the store must go on, told or not.
void let_go(std::uintptr_t address) {
  userfault_protect(page_of(address), kPageBytes, false);
}

void open_for(const Opening& opening, std::int64_t now_ns) {
  if (!window_open(opening) && new_pending(FaultState::kWaiting, opening, now_ns) == nullptr) let_go(opening.address);
}

long send_signal(std::uint32_t thread_id, std::uintptr_t page, std::uintptr_t index) {
  siginfo_t info{};
  info.si_signo = signal_to_send;
  info.si_code = SI_QUEUE;
  info.si_pid = static_cast<int>(observed_process());
  info.si_value.sival_ptr = reinterpret_cast<void*>(page | index);
  return raw_syscall(SYS_rt_tgsigqueueinfo, observed_process(), thread_id, signal_to_send, &info);
}

/// A thread as /proc shows it: which call a store of the kernel is part of is told of one that sleeps in its fault.
struct Sight {
  ThreadDoes does = ThreadDoes::kRuns;
  std::uint32_t call = 0;
  bool elsewhere = false;  // it was helped meanwhile, and its message is old
};

Sight look_at(std::uint32_t thread_id) {
  Sight sight;
  sight.does = what_thread_does(thread_id, &sight.call);
  sight.elsewhere = sight.does == ThreadDoes::kCall && sleeps_elsewhere(thread_id);
  return sight;
}

Opening of_kernel(std::uint32_t thread_id, std::uintptr_t address, const Sight& sight) {
  if (sight.does == ThreadDoes::kNothing || is_kernel_worker(thread_id))
    return {address, 0, 0, Op::kKernelWrite, false};
  return {address, thread_id, sight.does == ThreadDoes::kCall ? sight.call + 1 : 0, Op::kKernelWrite, false};
}

/// Whoever still wants to store there will tell again.
void doubt(const Opening& opening, std::int64_t now_ns) {
  new_pending(FaultState::kDoubted, opening, now_ns);
  userfault_wake(page_of(opening.address));
}

void signal_writer(const Opening& opening, bool told_before, std::int64_t now_ns) {
  const PendingFault* fault = new_pending(FaultState::kSignalled, opening, now_ns);
  const auto index = static_cast<std::uintptr_t>(fault != nullptr ? fault - faults : kUntracked);
  const long error = send_signal(opening.thread_id, page_of(opening.address), index);
  if (error == 0) return;
  if (fault != nullptr) faults[index].state = FaultState::kFree;
  if (error != -ESRCH) return open_for(opening, now_ns);
  if (!told_before) return doubt(opening, now_ns);  // helped meanwhile, the thread has ended
  // A debugger is no thread of the host.
  open_for(of_kernel(opening.thread_id, opening.address, look_at(opening.thread_id)), now_ns);
}

/// What the note leaves open /proc has to tell, and it says nothing of a thread that runs: such a one tells of its
/// fault again and again, because a signal is due, or has left it for the signal's handler. If it was helped meanwhile
/// it goes on, and may sleep in another call by now, or in a fault of another one. So only who is woken and tells again
/// is believed to store in a call, unless the note says so too.
FaultMode judge(FaultMode noted, const Sight& sight, bool told_before) {
  if (sight.does == ThreadDoes::kUserFault) return FaultMode::kUser;
  if (sight.elsewhere) return FaultMode::kUnknown;
  if (sight.does == ThreadDoes::kRuns && noted == FaultMode::kUnknown)
    return witness_present() ? FaultMode::kUnknown : FaultMode::kUser;
  const bool certain = told_before || (noted == FaultMode::kKernel && sight.does == ThreadDoes::kCall);
  return certain ? FaultMode::kKernel : FaultMode::kUnknown;
}

bool was_woken(const PendingFault& fault) {
  return userfault_woken_since(fault.wakes, page_of(fault.opening.address));
}

/// True when the fault is being looked after already. Told again, a thread has either come back to its store, or spins
/// in the kernel. `*doubted`: whether it still wants to store was not believed the first time.
bool is_known(PendingFault* fault, bool* doubted, bool* in_kernel) {
  if (fault->state == FaultState::kDoubted) {
    fault->state = FaultState::kFree;
    *doubted = true;
    return false;
  }
  if (fault->state == FaultState::kWaiting && !was_woken(*fault)) return true;
  if (fault->state == FaultState::kWaiting || fault->answered.load(std::memory_order_acquire)) {
    fault->state = FaultState::kFree;
    return false;
  }
  *in_kernel = ++fault->repeats > kRepeatsOfKernel;
  if (*in_kernel) fault->state = FaultState::kFree;
  return !*in_kernel;
}

void tend(PendingFault* fault, std::int64_t now_ns) {
  if (fault->state == FaultState::kWaiting) {
    fault->opening.insists = now_ns >= fault->look_ns;
    if (was_woken(*fault) || window_open(fault->opening)) fault->state = FaultState::kFree;
    return;
  }
  if (fault->answered.load(std::memory_order_acquire)) {
    fault->state = FaultState::kFree;
    return;
  }
  if (now_ns < fault->look_ns) return;
  if (fault->state == FaultState::kDoubted) {
    fault->state = FaultState::kFree;
    return;
  }
  // A thread that only waits for its turn on a processor is not stuck, however long that takes.
  fault->look_ns = now_ns + kPatienceNs;
  bool exists = false;
  if (signal_waits(fault->opening.thread_id, signal_to_send, &exists)) {
    fault->state = FaultState::kFree;
    open_for(fault->opening, now_ns);
  } else if (!exists) {
    fault->state = FaultState::kFree;
  }
}

}  // namespace

void faults_start(int signal_number) {
  signal_to_send = signal_number;
  for (PendingFault& fault : faults) fault.state = FaultState::kFree;
  used_faults = 0;
}

void on_fault(std::uint32_t thread_id, std::uintptr_t address, std::int64_t now_ns) {
  const std::uintptr_t page = page_of(address);
  const Page* entry = find_page(page);
  if (entry == nullptr || !entry->armed) return let_go(address);
  bool told_before = false, in_kernel = false;
  if (PendingFault* known = find_pending(thread_id, page); known != nullptr)
    if (is_known(known, &told_before, &in_kernel)) return;
  const FaultMode noted = witness_look(thread_id, address);
  FaultMode mode = noted;
  Sight sight;
  if (mode != FaultMode::kUser || in_kernel) {
    if (window_is_open(page, thread_id)) return userfault_wake(page);
    sight = look_at(thread_id);
    mode = in_kernel ? FaultMode::kKernel : judge(noted, sight, told_before);
    const bool doubtful = !sight.elsewhere && (noted == FaultMode::kKernel || sight.does != ThreadDoes::kRuns);
    if (mode == FaultMode::kUnknown && !doubtful) return userfault_wake(page);
    if (mode == FaultMode::kUnknown) return doubt({address, thread_id, 0, Op::kKernelWrite, false}, now_ns);
  }
  witness_settle(thread_id, mode);
  if (mode == FaultMode::kUser) return signal_writer({address, thread_id, 0, Op::kWrite, false}, told_before, now_ns);
  Opening opening = of_kernel(thread_id, address, sight);
  opening.told_by_thread =
      noted == FaultMode::kKernel && opening.thread_id != 0 && witness_end_of_call(thread_id, now_ns);
  open_for(opening, now_ns);
}

void faults_tend(std::int64_t now_ns) {
  witness_tend(now_ns);
  int used = 0;
  for (int i = 0; i < used_faults; ++i) {
    if (faults[i].state != FaultState::kFree) tend(&faults[i], now_ns);
    if (faults[i].state != FaultState::kFree) used = i + 1;
  }
  used_faults = used;
}

long faults_patience_us() {
  constexpr long kSignalledUs = 5'000, kWaitingUs = 20, kIdleUs = 1'000'000;
  long patience = kIdleUs;
  for (int i = 0; i < used_faults; ++i) {
    if (faults[i].state == FaultState::kSignalled && patience > kSignalledUs) patience = kSignalledUs;
    if (faults[i].state == FaultState::kWaiting) return kWaitingUs;
  }
  return patience;
}

int last_writer_cpu() {
  return writer_cpu.load(std::memory_order_relaxed);
}

bool uffd_message(const siginfo_t* info, std::uintptr_t* address) {
  if (info->si_code != SI_QUEUE || info->si_pid != static_cast<int>(observed_process())) return false;
  const auto value = reinterpret_cast<std::uintptr_t>(info->si_value.sival_ptr);
  const std::uintptr_t index = value & kPageMask;
  if (index > kUntracked) return false;
  writer_cpu.store(sched_getcpu(), std::memory_order_relaxed);
  if (index != kUntracked) faults[index].answered.store(true, std::memory_order_release);
  *address = page_of(value);
  return true;
}

}  // namespace watcher
